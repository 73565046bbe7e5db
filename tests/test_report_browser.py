"""The page as a reader meets it: in Chromium, without a network."""

import base64
import os
import shutil
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from evaluations import evaluation_of

from moco_dl.evaluation import Pictures
from moco_dl.report import report_page

REQUIRED = "NRCORRECT_BROWSER"  # environment: where it is "required", a missing browser is a failure


@pytest.fixture(scope="module")
def driver():
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    service = shutil.which("chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        browser = None
    if not (browser and service):
        missing = "needs Chromium, chromedriver and selenium (apt-get install chromium chromium-driver)"
        pytest.fail(missing) if os.environ.get(REQUIRED) == "required" else pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(service))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def evaluation():
    rng = np.random.default_rng(0)
    scene = rng.random((48, 64), np.float32).repeat(2, axis=0).repeat(2, axis=1)
    frames = np.stack([np.roll(scene, t % 5, axis=1) for t in range(40)]) + rng.random(
        (40, 96, 128), np.float32
    )
    fields = np.zeros((40, 2, 96, 128), np.float32)
    fields[:, 1] = (np.arange(40) % 5)[:, None, None] + np.linspace(-1, 1, 128)
    fields[:, 0] = np.linspace(-1, 1, 96)[:, None]
    return evaluation_of(frames, np.broadcast_to(scene, frames.shape), fields)


@pytest.fixture
def opened(driver, evaluation, tmp_path):
    """Opens an evaluation's page, by default the usual one, in a given width and with given media features."""

    def open_page(shown=evaluation, width=1200, script=True, **features):
        path = tmp_path / "report.html"
        path.write_text(report_page(shown), encoding="utf-8")
        wanted = {"prefers-reduced-motion": "reduce", "prefers-color-scheme": "light"} | features
        media = {"features": [{"name": name, "value": value} for name, value in wanted.items()]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        size = {"width": width, "height": 9000, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
        driver.get(path.as_uri())
        return driver

    yield open_page
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert driver.get_log("browser") == []


def find(driver, selector):
    return driver.find_element("css selector", selector)


def pixels(element) -> np.ndarray:
    shown = imagecodecs.png_decode(base64.b64decode(element.screenshot_as_base64))[..., :3].astype(int)
    return shown[6:-6, 6:-6] if min(shown.shape[:2]) > 40 else shown  # without rounded corners


def test_page_is_drawn(opened):
    driver = opened()
    assert find(driver, ".sentence").text.startswith("Better.")
    for selector in ("#compare .stage", "#moments .stage", ".kymograph", "#field .stage", "#time .plot .layer"):
        assert pixels(find(driver, selector)).std() > 5, selector
    fetched = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []


def test_divider_moves_by_keyboard_and_by_pointer(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver = opened()
    stage, divider, opening = (find(driver, s) for s in ("#compare .stage", "#divider", "#curtain-opening"))
    middle = pixels(stage)
    divider.send_keys(Keys.END)
    assert float(opening.get_attribute("width")) == 128
    before = pixels(stage)
    divider.send_keys(Keys.HOME)
    after = pixels(stage)
    half = middle.shape[1] // 2
    assert np.abs(middle[:, 10 : half - 10] - before[:, 10 : half - 10]).max() <= 8
    assert np.abs(middle[:, half + 10 : -10] - after[:, half + 10 : -10]).max() <= 8
    assert np.abs(before - after).mean() > 10
    ActionChains(driver).move_to_element(find(driver, "#compare-picture")).click().perform()
    assert 49 <= int(divider.get_property("value")) <= 51


def test_divider_follows_the_pointer_in_an_upright_image(opened, evaluation):
    from selenium.webdriver.common.action_chains import ActionChains

    pictures = Pictures(*(image[:, :16] for image in vars(evaluation.pictures).values()))
    driver = opened(replace(evaluation, shape=(40, 96, 16), pictures=pictures))
    picture = find(driver, "#compare-picture")
    width = picture.size["height"] / 96 * 16
    assert width < picture.size["width"] / 2
    ActionChains(driver).move_to_element_with_offset(picture, width / 4, 0).click().perform()
    assert 73 <= int(find(driver, "#divider").get_property("value")) <= 77


def test_frame_is_chosen_by_keyboard(opened, evaluation):
    from selenium.webdriver.common.keys import Keys

    driver = opened()
    slider = find(driver, "#frame")
    slider.send_keys(*[Keys.ARROW_RIGHT] * 5)
    assert find(driver, "#frame-words").text == "frame 5, flagged: low correlation"
    assert "flagged: low correlation; dy, down 0; dx, right " in slider.get_dom_attribute("aria-valuetext")
    shown = float(find(driver, '[data-curve="before"]').text)
    assert shown == pytest.approx(evaluation.traces.correlation_before[5], rel=0.01)
    arrows = find(driver, "#field .of-shape .arrow")
    nearest = min(evaluation.excerpts.field_frames, key=lambda frame: abs(frame - 5))
    assert arrows.get_attribute("href") == f"#arrows-shape-{nearest}"
    find(driver, "#next-flag").send_keys(Keys.ENTER)
    assert find(driver, "#frame-words").text.startswith("frame 22, flagged")
    find(driver, "#previous-flag").send_keys(Keys.SPACE)
    assert find(driver, "#frame-words").text.startswith("frame 5, flagged")
    find(driver, "#field-view").send_keys(Keys.END)
    assert find(driver, "#field-words").text.startswith("frame 39: mean dy")
    assert slider.get_property("value") == "39"


def test_pointing_at_a_chart_reads_the_frame(opened, evaluation):
    from selenium.webdriver.common.action_chains import ActionChains

    driver = opened()
    plot = find(driver, ".chart .plot")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(driver).move_to_element(plot).perform()
    frame = int(find(driver, "#frame-words").text.removeprefix("frame "))
    assert frame in (19, 20)
    assert find(driver, ".chart .at").text == f"frame {frame}"
    shown = find(driver, '[data-curve="dx"]').text.replace("\u2212", "-")
    assert float(shown) == pytest.approx(evaluation.traces.rigid[frame, 1], abs=0.01)
    assert "e" not in shown  # of a rigid displacement that is nothing but rounding
    assert find(driver, ".chart .cursor").value_of_css_property("visibility") == "visible"


def test_overlay_and_choices_work_without_the_script(opened):
    driver = opened(script=False)
    assert not find(driver, "#divider").is_displayed()
    overlay = find(driver, "#overlay .stage")
    red_green = pixels(overlay)
    assert red_green[..., 2].max() <= 12 and red_green[..., :2].std() > 10
    find(driver, "#palette-magenta + span").click()
    magenta_green = pixels(overlay)
    np.testing.assert_allclose(magenta_green[..., 2], magenta_green[..., 0], atol=12)
    whole = find(driver, "#field .of-whole")
    assert not whole.is_displayed()
    find(driver, "#part-whole + span").click()
    assert whole.is_displayed()


def test_preview_plays_unless_motion_is_unwelcome(opened):
    from selenium.webdriver.common.keys import Keys

    driver = opened()
    button, cell = find(driver, "#play"), find(driver, "#moments .cell")
    assert button.text == "Play" and cell.get_dom_attribute("viewBox") == "0 0 128 96"
    find(driver, "#moment").send_keys(Keys.ARROW_RIGHT)
    assert cell.get_dom_attribute("viewBox") == "128 0 128 96"
    button.send_keys(Keys.SPACE)
    assert button.text == "Pause"
    button.send_keys(Keys.ENTER)
    assert button.text == "Play"
    driver = opened(**{"prefers-reduced-motion": "no-preference"})
    assert find(driver, "#play").text == "Pause"


def test_dark_and_narrow(opened):
    light = pixels(find(opened(), "h1")).mean()
    driver = opened(width=390, **{"prefers-color-scheme": "dark"})
    assert pixels(find(driver, "h1")).mean() < 100 < light
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390


def test_every_control_has_a_name(opened):
    unnamed = opened().execute_script(
        "return [...document.querySelectorAll('input, button')]"
        ".filter(e => !(e.labels?.[0]?.textContent || e.textContent).trim()).map(e => e.id)"
    )
    assert unnamed == []


def test_page_without_fields_or_flags(opened, evaluation):
    excerpts = replace(evaluation.excerpts, field_frames=np.zeros(0, int))
    traces = replace(
        evaluation.traces, rigid=None, nonrigid_mean=None, nonrigid_max=None, flags=((),) * evaluation.shape[0]
    )
    driver = opened(replace(evaluation, excerpts=excerpts, traces=traces))
    find(driver, "#frame").send_keys("\ue014")  # arrow right
    assert find(driver, "#frame-words").text == "frame 1"
