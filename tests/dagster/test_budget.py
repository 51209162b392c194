"""What importing costs, counted in modules of others: the same on every machine."""

import subprocess
import sys
from importlib.resources import files

import pytest

BUDGET = 0.15
"""Of the modules that `import dagster` loads, how many as many more may be loaded of others."""

EVERYTHING = "import atdata_dagster as a; [getattr(a, name) for name in a.__all__]"


def count(*programs):
    """How many modules of others are loaded after each of the programs, one after the other."""
    others = "sum(not name.startswith('atdata_') for name in sys.modules)"
    code = "import sys\n" + "\n".join(f"{p}\nprint({others})" for p in programs)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def test_importing_the_package_alone_loads_nothing_more():
    code = "import sys, dagster; before = set(sys.modules); import atdata_dagster; "
    code += "print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["atdata_dagster"], done.stderr


@pytest.mark.parametrize("program", [EVERYTHING, "import atdata_dagster.components"])
def test_importing_everything_stays_in_its_budget(program):
    dagster, all_of_it = count("import dagster", program)
    assert dagster > 500
    assert all_of_it - dagster < BUDGET * dagster


def test_a_heavy_library_would_be_noticed():
    dagster, with_one = count("import dagster", f"{EVERYTHING}; import boto3, redis, atproto")
    assert with_one - dagster > BUDGET * dagster


def test_the_packages_say_that_they_are_typed():
    for package in ("atdata_core", "atdata_dagster"):
        assert (files(package) / "py.typed").is_file()
