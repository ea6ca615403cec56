"""The monitor's verdicts on real models decide who answers, while clients ask."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from components.serving_root import withdrawn
from serving.monitor.history import verdicts
from serving.monitor.monitor import monitor
from serving.release.next_step import take_next_step
from serving.release.release import Deployment
from tests.serving import small_models
from tests.serving.monitor.conftest import records, with_columns
from tests.serving.traffic import asked_again, traffic

if TYPE_CHECKING:
    from tests.serving.monitor.conftest import Watched
else:
    Watched = Any


@pytest.mark.e2e
def test_a_canary_trained_on_shuffled_labels_is_withdrawn_and_a_good_one_promoted(
    watched: Watched, rows: pd.DataFrame, analyse: Callable[..., Path], serve: Any, tmp_path: Path
) -> None:
    config, out, said = tmp_path / "models.config", tmp_path / "monitor", list[str]()
    take_next_step(Deployment(config, watched.root), {}, 2, said.append)
    server = serve(model_config_file=config, allow_version_labels_for_unavailable_models=True)
    place = Deployment(config, watched.root, (server.target,))

    def step() -> None:
        take_next_step(place, verdicts(out), 2, said.append)

    def measure(day: int) -> None:
        monitor(watched.root, watched.log(rows, f"2026-11-{day:02d}"), out)

    def of_shuffled_labels(models: Path) -> None:
        shutil.rmtree(models)
        shuffled = rows.assign(clicked=rows["clicked"].sample(frac=1, random_state=1).to_numpy())
        small_models.trained(analyse, records(shuffled), models)

    with traffic(server.target) as answered:
        watched.push(of_shuffled_labels)
        step()
        assert asked_again(answered) == {"stable": {1}, "canary": {2}, None: {2}}
        measure(2)
        step()
        assert asked_again(answered) == {"stable": {1}, "canary": {1}, None: {1}}
        assert withdrawn(watched.root) == [2]
        watched.push(with_columns(user_id="nobody"))  # another model of the same weights
        step()
        for day in (3, 4):
            assert asked_again(answered) == {"stable": {1}, "canary": {3}, None: {3}}
            measure(day)
            step()
        assert asked_again(answered) == {"stable": {3}, "canary": {3}, None: {3}}
    assert "version 2 failed on 2026-11-02: withdrawn" in said
    assert "version 3 is the canary: it passed on 1 of 2 days" in said
    assert "version 3 passed on 2 days" in said
