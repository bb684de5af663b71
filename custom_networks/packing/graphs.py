"""Rebuild the OpenVINO graphs that ship with the package: `python -m custom_networks.packing.graphs`."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from custom_networks.bundle_files import bundle_network, bundle_root

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)


def ship_graphs(networks: Iterable["nn.Module"], folder: Path) -> list[Path]:
    """Remove all graphs in `folder`, write the graph of each network there, and return the files.

    Raises:
        CannotRun: OpenVINO is missing or cannot convert a network.
        BundleError: the weights or outputs of a network are not finite.
    """
    from custom_networks.inference.openvino_graph import ship_graph

    for path in folder.glob("*.zip"):
        path.unlink()
    for network in networks:
        ship_graph(network, folder)
    return sorted(folder.glob("*.zip"))


def main() -> None:
    """Rebuild the graph of the released network."""
    from custom_networks.inference.openvino_graph import SHIPPED

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for path in ship_graphs([bundle_network(bundle_root())], SHIPPED):
        logger.info("%s, %d bytes", path, path.stat().st_size)


if __name__ == "__main__":
    main()
