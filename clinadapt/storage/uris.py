"""URIs of stores, sources, base models and adapters. Keys and paths are not parts of URLs: `#`, `?` and `;` in them are
letters like any other."""

from __future__ import annotations

from typing import NamedTuple


class Uri(NamedTuple):
    """A URI in its parts, none of them decoded.

    Attributes:
        scheme: in small letters; empty where there is none.
        authority: between `://` and the next slash: the bucket of `s3://`, empty in `file:///path`.
        path: the rest, with its first slash.
    """

    scheme: str
    authority: str
    path: str


def parse_uri(uri: str) -> Uri:
    """Split a URI; a text without `://` is all path."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Uri("", "", uri)
    authority, slash, path = rest.partition("/")
    return Uri(scheme.lower(), authority, slash + path)
