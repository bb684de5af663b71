"""Pack the bundle and the code that it needs into one archive, and export its network."""

from custom_networks.packing.archive import PackedBundle, pack_bundle

__all__ = ["PackedBundle", "pack_bundle"]
