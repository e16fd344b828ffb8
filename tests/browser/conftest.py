"""A headless Chromium for all tests of pages."""

from chromium import browser, downloads, shot

__all__ = ["browser", "downloads", "shot"]
