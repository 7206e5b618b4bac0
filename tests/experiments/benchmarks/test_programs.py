"""Programs that predict: the least work of a prediction, and the limits that follow from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks.programs import NEAR, Work, popcounts
from experiments.shipping import toolchain
from hntk.deploy.c import to_c
from tests.support.architectures import raw_samples, whole_classifier


@pytest.mark.skipif(not toolchain.has("gcc"), reason="needs gcc")
def test_counted_words_are_those_that_the_program_counts(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(100, 65, 33), pixels=True)
    # 45 pixels of 8 planes, then 100 and 65 neurons of 3.
    assert popcounts(made) == 100 * 1 * 8 + 65 * 2 * 3 + 33 * 2 * 3
    program = to_c(made, layouts="planes")
    plain = "#define POPCOUNT(x) popcount(x)\n#endif\n"
    assert program.source.count(plain) == 1
    counted = "extern long counted;\n#undef POPCOUNT\n#define POPCOUNT(x) (counted++, popcount(x))\n"
    portable = program.source.replace("defined(__GNUC__) || defined(__clang__)", "0")
    source, main = tmp_path / "net.c", tmp_path / "main.c"
    source.write_text(portable.replace(plain, plain + counted))
    main.write_text(
        '#include <stdio.h>\n#include "hntk_net.h"\nlong counted;\n'
        "int main(void)\n{\n    static hntk_net_word scratch[HNTK_NET_SCRATCH_BYTES / sizeof(hntk_net_word)];\n"
        "    static uint8_t input[HNTK_NET_INPUTS];\n    hntk_net_predict(input, scratch);\n"
        '    printf("%ld", counted);\n    return 0;\n}\n'
    )
    program.write(tmp_path)
    toolchain.compile_files([source, main], tmp_path / "run", options=(f"-I{tmp_path}", "-DHNTK_PORTABLE"))
    assert toolchain.run_program(tmp_path / "run", raw_samples(made)).tolist() == [popcounts(made)]


@pytest.mark.parametrize(
    ("work", "batch", "expected"),
    [
        ({"read": 100, "multiplies": 5}, 1, (1.0, "memory")),
        ({"read": 100, "multiplies": 5}, 100, (0.05, "multiply-add")),
        ({"read": 100, "counts": 5, "shared_by": 1}, 100, (1.0, "memory")),
        ({"read": 800, "counts": 5, "shared_by": 8}, 100, (1.0, "memory")),
        ({"read": 100}, 1, (1.0, "memory")),
        ({"read": 100}, 2, (None, None)),
        ({}, 1, (None, None)),
    ],
)
def test_the_tightest_limit_is_told(work: dict, batch: int, expected: tuple) -> None:
    rates = {("read", 100): 100.0, ("read", 800): 100.0, ("count", NEAR): 10.0, ("multiply", 0): 100.0}
    assert Work(**work).limit(rates, batch) == expected
