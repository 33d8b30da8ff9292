"""A prepare that is killed half-way, and the next one."""

from commands import RECIPE


def asides(folder):
    """Folders under work and their locks."""
    return [path for path in (folder / "storage" / "prepared").glob("*/.*")]


def test_a_killed_prepare_leaves_nothing_that_looks_finished_and_the_next_cleans_up(
    start, on_our_ray, here, wait_for, tmp_path
):
    killed = start("prepare", RECIPE, cwd=tmp_path, ray=True)
    scratch = "storage/prepared/encoded/.*/scratch-*/rows-*"
    wait_for(lambda: list(tmp_path.glob(scratch)) or killed.ended, within_s=120)
    killed.kill()
    assert asides(tmp_path) and not (tmp_path / "storage" / "prepared" / "names").exists()
    assert len(list(tmp_path.rglob("manifest.json"))) == 1  # of the rows, which were whole
    again = on_our_ray("prepare", RECIPE, "--json", cwd=tmp_path)
    assert again.json["rows_kept"] == 10_000 and not again.json["reused"]
    assert not asides(tmp_path) and len(list(tmp_path.rglob("manifest.json"))) == 2
    assert here("prepare", RECIPE, "--json", cwd=tmp_path).json["reused"]
    killed.end()  # Ray's agents would notice by and by
