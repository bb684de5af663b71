"""Liver and liver tumor segmentation in abdominal CT: what the bundle's JSON cannot declare."""


def __getattr__(name: str) -> str:
    """`__version__`, which the bundle's metadata.json states, is read when somebody asks for it (PEP 562)."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from custom_networks.bundle_files import bundle_version

    return bundle_version()
