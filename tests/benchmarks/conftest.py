"""A headless Chromium for the benchmarks of pages."""

from chromium import browser, downloads, shot

__all__ = ["browser", "downloads", "shot"]
