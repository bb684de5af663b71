"""Packs the bundle, with the code that it needs, into one archive for others."""

from custom_networks.packing.archive import PackedBundle, pack_bundle

__all__ = ["PackedBundle", "pack_bundle"]
