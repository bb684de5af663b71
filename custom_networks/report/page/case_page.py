"""`report.html` of a case: a self-contained page, with or without the interactive viewer."""

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.report.drawing import LESION_COLOURS, LIVER_COLOUR
from custom_networks.report.page import content
from custom_networks.report.page.assets import asset, niivue, policy, template
from custom_networks.report.page.viewer import ViewerVolumes
from custom_networks.report.pictures import CasePictures, Picture

MOST_PRINTED = 20  # lesions shown when the page is printed
WINDOWS = (
    {"name": "soft tissue, -160 to 240 HU", "low": -160, "high": 240},
    {"name": "liver, 0 to 200 HU", "low": 0, "high": 200},
)
QUALITIES = (82, 65, 45, 25)  # JPEG qualities, tried in this order until the page is small enough
LIGHT_CHARACTERS, FULL_CHARACTERS = 490_000, 7_900_000


def case_page(
    report: Mapping[str, Any],
    pictures: CasePictures,
    volumes: ViewerVolumes | None,
    patient: Mapping[str, str],
) -> str:
    """Return the page as HTML; all texts are escaped.

    Pictures are encoded with the highest of the `QUALITIES` for which the page is small enough, or else the lowest.

    Args:
        report: the content of report.json.
        pictures: pictures of the case.
        volumes: volumes for the viewer, or None for a light page, which has no scripts.
        patient: text about the patient to show, by label; empty to show none.
    """
    shared = _viewer(report, volumes) if volumes else {}
    style, scripts = asset("page.css") + _swatches(), [shared["niivue"]["code"], shared["script"]] if volumes else []
    fill = partial(
        template("case.html.j2").render,
        report=report,
        verdict=content.verdict_of(report),
        by_person=content.BY_PERSON if content.by_person(report) else "",
        segments=content.segments_of(report),
        source=content.source_facts(report),
        made=content.made_facts(report),
        left_out=pictures.left_out,
        patient=patient,
        volumes=volumes,
        style=style,
        policy=policy([style], scripts),
        most_printed=MOST_PRINTED,
        **shared,
    )
    most = FULL_CHARACTERS if volumes else LIGHT_CHARACTERS
    for quality in QUALITIES:
        page = str(fill(planes=_embedded(pictures.planes, quality), lesions=_embedded(pictures.lesions, quality)))
        if len(page) < most:
            break
    return page


def jpeg(rgb: npt.NDArray[np.uint8], quality: int = QUALITIES[0]) -> bytes:
    """Encode a picture (rows, columns, 3) as JPEG, without chroma subsampling to keep coloured lines sharp."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality, subsampling=0, optimize=True)
    return stream.getvalue()


def thumbnail(picture: Picture, pixels: int = 176) -> bytes:
    """Return a picture as a JPEG of at most `pixels` x `pixels`."""
    from PIL import Image

    image = Image.fromarray(picture.rgb)
    image.thumbnail((pixels, pixels))
    return jpeg(np.asarray(image))


def _viewer(report: Mapping[str, Any], volumes: ViewerVolumes) -> dict[str, Any]:
    """Return the template's variables for the viewer, by name."""
    return {
        "niivue": niivue(),
        "script": asset("page.js"),
        "data": _data(report, volumes),
        "windows": WINDOWS,
        "viewer_mm": " x ".join(f"{mm:.2f}" for mm in volumes.spacing),
    }


def _embedded(pictures: Sequence[Picture], quality: int) -> list[dict[str, Any]]:
    return [
        {
            "title": p.title,
            "lesion": p.lesion,
            "src": f"data:image/jpeg;base64,{base64.b64encode(jpeg(p.rgb, quality)).decode()}",
        }
        for p in pictures
    ]


def _data(report: Mapping[str, Any], volumes: ViewerVolumes) -> dict[str, Any]:
    return {
        **content.viewer_data(report),
        "colours": LESION_COLOURS,
        "liverColour": LIVER_COLOUR,
        "sliceMm": volumes.spacing[2],
        "middle": volumes.middle,
    }


def _swatches() -> str:
    return "".join(f".colour-{n} {{ background: rgb{colour}; }}\n" for n, colour in enumerate(LESION_COLOURS))
