"""The pages in a real headless browser with software WebGL; `make test-page` installs it and runs the tests."""

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_case import PageCase, page_case
from shapes import Ellipsoid

from custom_networks.report.page.written import write_page
from custom_networks.report.report import write_report
from custom_networks.report.summary import Finished, Summary, refused_row

pytestmark = pytest.mark.slow
Driver = Any
LESIONS = [
    Ellipsoid((14, 8, -2), (9, 7, 8), about_z=30),
    Ellipsoid((-14, 2, 4), (6, 6, 7)),
    Ellipsoid((0, -20, -15), (4, 4, 4)),
]
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WIDE, PHONE = (1280, 1400), (390, 844)


def browser(*arguments: str) -> Driver:
    """Headless Chromium; the test is skipped if it or selenium is not installed."""
    selenium = pytest.importorskip(
        "selenium.webdriver", reason="BROWSER ABSENT: no selenium; make test-page installs it"
    )
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not chromium or not driver:
        pytest.skip("BROWSER ABSENT: no chromium or chromedriver; make test-page installs them")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1280,1400",
        *arguments,
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return selenium.Chrome(options=options, service=selenium.ChromeService(driver))


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    started = browser(*SOFTWARE_GL)
    yield started
    started.quit()


def written(folder: Path, case: PageCase, page: str = "full") -> Path:
    folder.mkdir(exist_ok=True)
    return folder / write_page(folder, page, case.report, case.pictures, *case.parts, {})["page"]


@pytest.fixture(scope="module")
def case() -> PageCase:
    return page_case(LESIONS, (1.0, 1.0, 2.5))


@pytest.fixture(scope="module")
def path(case: PageCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("page"), case)


def wait(driver: Driver, until: Callable[[Driver], Any], seconds: float = 60) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, seconds).until(until)


def ready(driver: Driver, path: Path, size: tuple[int, int] = WIDE) -> None:
    """Open a page and wait for its viewer."""
    driver.set_window_size(*size)
    driver.get_log("browser"), driver.get_log("performance")
    driver.get(path.as_uri())
    wait(driver, lambda d: d.execute_script("return document.documentElement.dataset.viewer === 'ready'"))


@pytest.fixture
def opened(driver: Driver, path: Path) -> Driver:
    ready(driver, path)
    return driver


def picture(driver: Driver, name: str = "viewer") -> np.ndarray:
    """The pixels of an element."""
    from io import BytesIO

    from PIL import Image

    shot = driver.find_element("id", name).screenshot_as_png
    return np.asarray(Image.open(BytesIO(shot)).convert("RGB")).astype(int)


def crosshair(driver: Driver) -> list[float]:
    return list(driver.execute_script("return window.liverseg.crosshair()"))[:3]


def step_mm(driver: Driver) -> float:
    """Half of the diagonal of the viewer's voxels, since crosshairs are at voxel centres, mm."""
    sizes = driver.execute_script("return Array.from(window.liverseg.nv.volumes[0].pixDimsRAS)")[1:4]
    return float(np.linalg.norm(sizes)) / 2 + 0.1


def row(driver: Driver, lesion: int) -> Any:
    return driver.find_element("css selector", f"tr[data-lesion='{lesion}']")


def test_no_console_error_and_no_request_leaves_the_page(opened: Driver) -> None:
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked and {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert sum(url.startswith("file:") for url in asked) == 1


def test_planes_and_body_are_drawn(opened: Driver) -> None:
    for name in ("viewer", "solid"):
        shown = picture(opened, name)
        assert shown.std() > 10 and (shown.max(axis=2) > 40).mean() > 0.05, name


def test_the_picture_changes_with_the_slice(opened: Driver) -> None:
    before, place = picture(opened), crosshair(opened)
    canvas = opened.find_element("id", "viewer")
    opened.execute_script("arguments[0].focus()", canvas)
    for _ in range(3):
        canvas.send_keys("\ue013")  # arrow up
    assert crosshair(opened)[2] == pytest.approx(place[2] + 7.5, abs=1.3)  # it goes from voxel to voxel
    assert (np.abs(picture(opened) - before).max(axis=2) > 20).mean() > 0.005


def test_the_overlay_can_be_turned_off_and_made_more_opaque(opened: Driver) -> None:
    faint = picture(opened)
    opened.execute_script(
        "const o = document.getElementById('opacity'); o.value = 90; o.dispatchEvent(new Event('input'));"
    )
    strong = picture(opened)
    opened.find_element("id", "overlay").click()
    off = picture(opened)
    colourful = [float((np.ptp(shown, axis=2) > 40).mean()) for shown in (off, faint, strong)]
    assert colourful[0] < colourful[1] and np.ptp(strong, axis=2).mean() > np.ptp(faint, axis=2).mean() + 1
    assert opened.find_elements("css selector", "#marks *") == []


def test_the_window_changes_only_the_grey_values(opened: Driver) -> None:
    before = picture(opened)
    opened.execute_script(
        "const w = document.getElementById('window'); w.selectedIndex = 1; w.dispatchEvent(new Event('change'));"
    )
    assert np.abs(picture(opened) - before).mean() > 3
    assert opened.execute_script("return [liverseg.nv.volumes[0].cal_min, liverseg.nv.volumes[0].cal_max]") == [0, 200]


@pytest.mark.parametrize("lesion", [1, 2, 3])
def test_a_click_on_a_row_moves_to_the_lesions_centre(lesion: int, opened: Driver, case: PageCase) -> None:
    row(opened, lesion).click()
    centroid = np.array(case.report["lesions"][lesion - 1]["centroid"])
    assert np.linalg.norm(np.array(crosshair(opened)) - centroid) <= step_mm(opened)
    assert row(opened, lesion).get_attribute("aria-current") == "true"
    assert f"Lesion {lesion}:" in opened.find_element("id", "where").text


def test_arrow_keys_move_from_row_to_row(opened: Driver, case: PageCase) -> None:
    row(opened, 1).click()
    for lesion, key in ((2, "\ue015"), (3, "\ue015"), (2, "\ue013")):
        opened.switch_to.active_element.send_keys(key)
        centroid = np.array(case.report["lesions"][lesion - 1]["centroid"])
        assert np.linalg.norm(np.array(crosshair(opened)) - centroid) <= step_mm(opened)
        assert opened.switch_to.active_element.get_attribute("data-lesion") == str(lesion)


def test_diameters_are_drawn_with_their_length_in_their_slice(opened: Driver, case: PageCase) -> None:
    row(opened, 1).click()
    assert len(opened.find_elements("css selector", "#marks line")) >= 2  # dashed where they lie in another slice
    opened.find_element("id", "to-diameters").click()
    lines = opened.find_elements("css selector", "#marks line.diameter:not(.elsewhere)")
    ends = np.array([[float(line.get_attribute(a)) for a in ("x1", "x2", "y1", "y2")] for line in lines[:2]])
    longest, across = np.hypot(ends[:, 0] - ends[:, 1], ends[:, 2] - ends[:, 3])
    lesion = case.report["lesions"][0]
    assert longest / across == pytest.approx(lesion["longest_mm"] / lesion["perpendicular_mm"], rel=0.02)
    # The scene's scale: both tell how many pixels a mm has.
    tile = opened.execute_script(
        "const t = liverseg.nv.screenSlices.find(s => s.axCorSag === 0); const c = document.getElementById('viewer');"
        "return Math.abs(t.leftTopWidthHeight[2] / t.fovMM[0]) * c.clientWidth / c.width"
    )
    assert longest == pytest.approx(lesion["longest_mm"] * tile, rel=0.03)


def test_the_patients_right_is_on_the_left(opened: Driver, case: PageCase) -> None:
    opened.execute_script("liverseg.nv.scene.crosshairPos = [.5, .5, .5]; liverseg.nv.drawScene()")
    shown = {t.text: float(t.get_attribute("x")) for t in opened.find_elements("css selector", "#marks text")}
    right_first = sorted(case.report["lesions"][:2], key=lambda lesion: lesion["centroid"][0])
    assert shown[str(right_first[0]["id"])] < shown[str(right_first[1]["id"])]
    # And the pixels agree: lesions are drawn in their colours, red and orange, in the axial picture.
    assert opened.execute_script("return liverseg.nv.opts.isRadiologicalConvention") is True


def test_a_phone_shows_everything_without_horizontal_scrolling(driver: Driver, path: Path) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        ready(driver, path, PHONE)
        width = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1] == PHONE[0]
        row(driver, 2).click()
        assert picture(driver).std() > 10
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_light_and_dark_follow_the_system(opened: Driver) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        grounds.append(opened.execute_script("return getComputedStyle(document.body).backgroundColor"))
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert grounds == ["rgb(255, 255, 255)", "rgb(17, 22, 29)"]


def printed(driver: Driver) -> bytes:
    answer = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    return base64.b64decode(answer["data"])


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def test_a_case_prints_on_two_pages(opened: Driver) -> None:
    assert pages_of(printed(opened)) == 2


def test_many_lesions_and_notes_also_print_on_two_pages(driver: Driver, tmp_path: Path) -> None:
    notes = tuple(f"Note {n}: {'a long sentence about a series that was not taken, ' * 4}" for n in range(20))
    path = written(tmp_path / "many", page_case(LESIONS[:1], (3.0, 3.0, 5.0), notes=notes).times(28), "light")
    driver.get(path.as_uri())
    assert len(driver.find_elements("css selector", "tr[data-lesion]")) == 28
    assert pages_of(printed(driver)) == 2


def test_without_webgl_a_sentence_and_the_pictures_are_shown(path: Path) -> None:
    driver = browser("--disable-gpu", "--disable-3d-apis")
    try:
        driver.get(path.as_uri())
        sentence = wait(driver, lambda d: d.find_element("id", "no-viewer").text)
        assert "WebGL 2" in sentence and "pictures below" in sentence
        assert not driver.find_element("id", "viewer").is_displayed()
        shown = driver.find_elements("css selector", "#pictures img")
        driver.execute_script("arguments[0].scrollIntoView()", shown[-1])
        wait(driver, lambda d: all(d.execute_script("return arguments[0].naturalWidth", one) for one in shown))
        assert len(shown) == 6
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    finally:
        driver.quit()


def test_the_index_sorts_and_shows_its_pictures(driver: Driver, tmp_path: Path) -> None:
    found = []
    for number, lesions in enumerate(([], LESIONS, LESIONS[:1])):
        case, folder = page_case(lesions, case=f"case {number}"), tmp_path / f"case {number}"
        files = write_page_of(folder, case)
        write_report({**case.report, "files": {**case.report["files"], **files}}, folder)
        (folder / "manifest.json").write_text("{}")
        found.append(Finished(folder / "manifest.json"))
    (tmp_path / "r.json").write_text("{}")
    found.append(Finished(tmp_path / "r.json", refused_row("r", "r.nii", "r.nii is constant.")))
    Summary(tmp_path, lambda: found, index=True).write()
    driver.get((tmp_path / "index.html").as_uri())
    lesions_heading = driver.find_element("xpath", "//th[button[text()='Lesions']]/button")

    def order() -> list[str]:
        return [cell.text for cell in driver.find_elements("css selector", "#cases tbody th")]

    lesions_heading.click()
    assert order() == ["case 0", "case 2", "case 1"]
    lesions_heading.click()
    assert order() == ["case 1", "case 2", "case 0"]
    images = driver.find_elements("css selector", "#cases img")
    wait(driver, lambda d: all(d.execute_script("return arguments[0].naturalWidth > 0", one) for one in images))
    driver.find_element("link text", "case 1").click()
    wait(driver, lambda d: d.title.startswith("case 1"))


def write_page_of(folder: Path, case: PageCase) -> dict[str, str]:
    folder.mkdir()
    return write_page(folder, "light", case.report, case.pictures, *case.parts, {})
