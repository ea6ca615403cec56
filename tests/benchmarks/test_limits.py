from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf

from benchmarks import limits
from components.transform.minilm import MiniLM


def test_the_work_of_a_text_is_that_of_its_tokens(tmp_path: Path) -> None:
    csv = tmp_path / "ads.csv"
    pd.DataFrame({"text": ["One ad", "One ad", "Another, with more words in it"]}).to_csv(csv)
    found = limits._operations_of_texts(csv)

    # Of 4 and 9 tokens: each multiplied with every weight of its layers' matrices, and added up.
    matrices = [weight for weight in MiniLM(128).variables if weight.shape.rank == 3]
    count = sum(int(tf.size(matrix)) for matrix in matrices)
    assert found == pytest.approx(2 * count * (4 + 9))
