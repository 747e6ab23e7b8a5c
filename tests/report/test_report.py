"""The command that writes a report, and its page in a browser."""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from stac.launch import report
from stac.report import tables
from tests import refusals
from tests.conftest import ROOT
from tests.report.test_runs import ROWS, TASK, run

CHROMIUM = pathlib.Path("/usr/bin/chromium")
DRIVER = pathlib.Path("/usr/bin/chromedriver")
FREEWAY = {("freeway, minatar", "stac"), ("freeway, minatar", "stac, heads=2")}


def command(*arguments: object) -> None:
    assert report.main(["launch.report", *map(str, arguments)]) == 0


def test_a_runs_curve_takes_the_place_of_a_tables_and_left_out_runs_are_named(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(tmp_path / "earlier" / "a", "stac", 1)
    run(tmp_path / "earlier" / "b", "stac", 2)
    command(tmp_path / "earlier", f"--out={out}")
    run(tmp_path / "now" / "stac", seed=2, rows=[(at, 7.0) for at, _ in ROWS[:3]])
    run(tmp_path / "now" / "<script>")
    (tmp_path / "now" / "<script>" / "config.json").write_text("{")
    capsys.readouterr()
    command(tmp_path / "now", out / "curves.csv", f"--out={out}")  # and replaces it
    printed = capsys.readouterr()
    replaced, left_out, *written = printed.err.splitlines()
    assert replaced.endswith(
        ", stac, seed 2: 1.00 million frames take the place of 2.00"
    )
    assert left_out.startswith(f"left out: {tmp_path}/now/<script>: its config.json")
    assert written == [f"written: {out}/{x}" for x in ("curves.csv", "index.html")]
    header, _, row = printed.out.splitlines()
    assert header.startswith("| task | stac | trivial | a3c_100M |")
    assert row.startswith(
        f"| {TASK} | 846, 431 (seed 1, 2.00M); 7, 7 (seed 2, 1.00M) |"
    )
    ends = {run.seed: run.returns[-1] for run in tables.read(out / "curves.csv")}
    assert ends == {1: 1000, 2: 7}
    page = (out / "index.html").read_text()
    assert "now/&lt;script&gt;: its config.json" in page
    assert (out / "learning_curves.png").stat().st_size > 1000


def test_an_evaluation_of_a_run_that_is_not_finished_is_in_no_mean(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # is not installed
    for seed, last, earned in ((1, 1_000_000, 10), (2, 500_000, 2)):
        place = tmp_path / "runs" / str(seed)
        rows = [(last // 2, 1.0), (last, 1.0)]
        run(place, "sac", seed, rows, total_frames=1_000_000)
        row = {"evaluation/mean/return": earned, "evaluation/mean/error": 3}
        text = "".join(json.dumps({"frames": at, **row}) + "\n" for at in (0, last))
        (place / "evaluations.jsonl").write_text(text)
    command(tmp_path / "runs", f"--out={tmp_path}")
    page = (tmp_path / "index.html").read_text()
    (row,) = re.findall(r"<tr>(?:(?!</tr>).)*<td[^>]*>mean</td>.*?</tr>", page, re.S)
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row)[3:6] == ["1", "10", "3"]
    assert "no PNG files, which need: pip install" in capsys.readouterr().err
    assert not [*tmp_path.glob("*.png")]


def test_a_tables_curves_go_beside_the_runs_as_agents_of_their_own(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "x", rows=ROWS[:3])
    table = ROOT / "docs" / "control.csv"
    command(tmp_path / "x", f"--beside={table}", f"--out={tmp_path / 'out'}")
    drawn = tables.read(tmp_path / "out" / "curves.csv")
    assert {run.task for run in drawn} == {TASK}
    assert {run.label for run in drawn} == {
        "stac",
        *(f"{agent} of control.csv" for agent in ("impala", "stac", "stacx")),
    }


def test_help_and_refusals_come_without_jax_and_matplotlib_and_reports_without_jax(
    tmp_path: pathlib.Path,
) -> None:
    program = """
import contextlib, sys
from stac.launch import report
for words in (["--help"], ["nowhere", "--out=x"], []):
    with contextlib.suppress(SystemExit):
        report.main(["launch.report", *words])
assert not {"jax", "matplotlib"} & {*sys.modules}
report.main(["launch.report", "docs/cartpole.csv", f"--out={sys.argv[1]}"])
assert "jax" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=240,
    )


def test_figures_of_two_agents_with_long_names_are_two_files(tmp_path):
    table = tmp_path / "long.csv"
    rows = ["task,agent,seed,million_frames,mean_return,gamma/head_1"]
    for end, at in itertools.product("ab", (1, 2)):
        rows.append(f"{TASK},{'x' * 200}{end},1,{at},5.0,0.9")
    table.write_text("\n".join(rows))
    command(table, f"--out={tmp_path}")
    assert len([*tmp_path.glob("metaparameters_*.png")]) == 2


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A report of runs that have data for every section."""
    place = tmp_path_factory.mktemp("report")
    for agent, tuned, outer, seed in (
        *(("impala", "", 0.99, seed) for seed in (1, 2, 3)),
        *(("stacx", "gamma,lambda", 0.99, seed) for seed in (1, 2, 3)),
        ("stacx", "gamma", 0.99, 1),
        ("stacx", "gamma,lambda", 0.9, 1),
    ):
        for task in (TASK, "walker.stand"):
            path = place / "runs" / f"{task}_{agent}_{tuned}_{outer}_{seed}"
            changes = {"agent.self_tuned": tuned, "agent.outer.gamma": outer}
            changes |= {"environment.task": task}
            run(path, agent, seed, **changes)
            (path / "metrics.jsonl").write_text(_rows(seed + len(tuned), bool(tuned)))
            evaluated = {
                "evaluation/sampled/return": 5.0,
                "evaluation/sampled/error": 1,
            }
            rows = [json.dumps({"frames": at, **evaluated}) for at in (0, 1_000_000)]
            (path / "evaluations.jsonl").write_text("\n".join(rows))
    (place / "runs" / "foreign").mkdir()
    (place / "runs" / "foreign" / "config.json").write_text("[]")
    command(place / "runs", f"--out={place}")
    return place / "index.html"


def _rows(level: int, tuned: bool) -> str:
    rows: list[dict[str, Any]] = []
    for at in range(1, 6):
        row = {"frames": at * 200_000, "seconds": at * 60.0}
        row |= {"episode_return": 50.0 * at + 9 * level}
        for head in (1, 2) if tuned else ():
            row |= {f"hyperparameters/gamma/head_{head}": 0.9 + at * head / 1000}
            row |= {f"metagradient/gamma/head_{head}": 0.1}
        rows.append(row)
    return "\n".join(map(json.dumps, rows))


def test_the_page_has_every_section_and_needs_nothing_else(
    written: pathlib.Path,
) -> None:
    page = written.read_text()
    names = (
        *("Summary", "Learning curves", "Evaluations", "Final scores", "Aggregates"),
        *("Performance profiles", "Probability of improvement", "Run times", "Runs"),
        *("Relative improvement", "Metaparameters", "Robustness"),
        *("Self-tuned metaparameters", "Left out"),
    )
    assert not [name for name in names if f">{name}</h" not in page]
    assert len(page) < 1_000_000
    own = {"https://github.com/leeoniya/uPlot"}  # in uPlot's licence line
    assert {*re.findall(r"https?://[\w./-]+", page)} == own


@pytest.fixture(params=[1200, 390], ids=["wide", "phone"])
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    width = request.param
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip("needs Debian's chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.add_argument("--headless=new")
    options.add_argument("--no-sandbox")
    logs = {"browser": "ALL", "performance": "ALL"}
    options.set_capability("goog:loggingPrefs", logs)
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1}
        mobile = {**size, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", mobile)
        yield driver
    finally:
        driver.quit()


EMPTY = """
return [...document.querySelectorAll("details")].map(x => x.open = true) && new Promise(
  done => setTimeout(() => done([...document.querySelectorAll(".chart")].filter(x => {
    const canvas = x.querySelector("canvas");
    if (!canvas) return true;
    const size = [canvas.width, canvas.height];
    return !canvas.getContext("2d").getImageData(0, 0, ...size).data.some(Boolean);
  }).length), 1000));
"""


def test_the_page_works_in_a_browser(browser: Any, written: pathlib.Path) -> None:
    browser.get(written.as_uri())
    assert browser.execute_script(EMPTY) == 0
    wide = "return document.documentElement.scrollWidth - innerWidth"
    assert browser.execute_script(wide) <= 0
    _sorts(browser)
    _zooms(browser)
    assert browser.get_log("browser") == []
    events = [
        json.loads(x["message"])["message"] for x in browser.get_log("performance")
    ]
    urls = {
        event["params"]["request"]["url"].split(":")[0]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert urls <= {"file", "data"}


def _sorts(browser: Any) -> None:
    """By a click descending, by the keyboard ascending."""
    column = """
      return [...document.querySelectorAll("#final-scores tbody tr")].map(
        row => +row.cells[1].dataset.value)"""
    button = browser.find_elements("css selector", "#final-scores th button")[1]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    values = browser.execute_script(column)
    assert values == sorted(values, reverse=True)
    button.send_keys("\ue007")  # Enter
    assert browser.execute_script(column) == sorted(values)
    head = button.find_element("xpath", "..")
    assert head.get_attribute("aria-sort") == "ascending"


def _zooms(browser: Any) -> None:
    from selenium.webdriver import ActionChains

    place = browser.find_element("css selector", ".chart .u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", place)
    shown = (
        "const x = document.querySelector('.chart').plot.scales.x; return x.max - x.min"
    )
    whole = browser.execute_script(shown)
    actions = ActionChains(browser).move_to_element_with_offset(place, -40, 0)
    actions.click_and_hold().move_by_offset(80, 5).release().perform()
    assert browser.execute_script(shown) < 0.8 * whole
    ActionChains(browser).double_click(place).perform()
    assert browser.execute_script(shown) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--task=breakout,x.y"], {("breakout, minatar", "stac"), ("x.y", "impala")}),
        (["--task=x.y", "--task=freeway, minatar"], {("x.y", "impala"), *FREEWAY}),
        (["--task=freeway"], FREEWAY),
        (["--agent=stac,impala", "--task=freeway"], {("freeway, minatar", "stac")}),
        (["--agent=stac, heads=2"], {("freeway, minatar", "stac, heads=2")}),
    ],
)
def test_some_tasks_and_agents_are_chosen(
    flags: list[str], expected: set[tuple[str, str]], tmp_path: pathlib.Path
) -> None:
    """By their whole names, or where there is none by the word before a comma."""
    names = [("breakout, minatar", "stac"), ("x.y", "impala"), ("x.y, easy", "impala")]
    names += FREEWAY
    rows = [f'"{task}","{label}",1,{at},1.0' for task, label in names for at in (1, 2)]
    table = tmp_path / "all.csv"
    table.write_text("\n".join([",".join(tables.COLUMNS), *rows]))
    command(table, f"--out={tmp_path}", *flags)
    written = tables.read(tmp_path / "curves.csv")
    assert {(run.task, run.label) for run in written} == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere: there is no such folder: name a run's workdir"),
        (["empty"], "stac_s1: its config.json is missing, damaged, or of another"),
        (["none"], "none: no run has logged anything there: name a run"),
        (["no.csv"], "no.csv: No such file"),
        (["a.csv"], "a.csv: its first line is not task,"),
        (["h.csv"], "the tables have no rows"),
        (["~/h.csv"], "/h.csv: No such file"),
        (["runs", "--out=a.csv"], "--out=a.csv: is no folder"),
        (["runs", "--beside=no.csv"], "no.csv: No such file"),
        (["runs", "--beside=a.csv"], "a.csv: its first line is not"),
        (["runs", "--beside=b.csv"], "b.csv:2: is no row of task,"),
        (["runs", "--beside=d.csv"], "d.csv:2: is no row of task,"),
        (["runs", "--beside=n.csv"], "n.csv:2: is no row of task,"),
        (["runs", "--beside=c.png"], "c.png: its first line is not"),
        (["x/curves.csv", "--agent=stac"], "another table over x/curves.csv"),
        (["runs", "--beside=y.csv"], "y.csv: has no curve of cartpole.balance"),
        (["runs", "--besides=x.csv"], "unrecognized arguments: --besides"),
        (["runs", "--task=cartpole.balanc"], "did you mean cartpole.balance?"),
        (["runs", "--agent=stax"], "unknown agent 'stax'"),
        ([], "are required: RUN: see --help"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str],
    expected: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "runs" / "stac")
    (tmp_path / "a.csv").write_text("task\n")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\n")
    header = ",".join(tables.COLUMNS) + "\n"
    (tmp_path / "h.csv").write_text(header)
    (tmp_path / "b.csv").write_text(f"{header}{TASK},stac,one,0.1,1.0\n")
    (tmp_path / "d.csv").write_text(f"{header}{TASK},stac,1\0,0.1,1.0\n")
    (tmp_path / "n.csv").write_text(f"{header}{TASK},stac,1,0.1,nan\n")
    (tmp_path / "x").mkdir()
    for name in ("x/curves.csv", "y.csv"):
        (tmp_path / name).write_text(f"{header}x.y,stac,1,0.1,1.0\n")
    (tmp_path / "empty" / "stac_s1").mkdir(parents=True)
    (tmp_path / "empty" / "stac_s1" / "metrics.jsonl").touch()
    (tmp_path / "none").mkdir()
    arguments = ["--out=x", *arguments]
    refused = refusals.of(report.main, arguments, monkeypatch, capsys)
    assert expected in refused
