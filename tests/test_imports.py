"""Every module of seewhy can be the first to be imported."""

import subprocess
import sys

# torch is imported once; seewhy's own modules are forgotten before each.
EACH = """
import importlib, pkgutil, sys
import torch, torchvision.ops, torchvision.transforms.functional
import seewhy
names = [m.name for m in pkgutil.walk_packages(seewhy.__path__, "seewhy.")]
for name in [n for n in names if not n.endswith("__main__")]:
    for known in [known for known in sys.modules if known.partition(".")[0] == "seewhy"]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
print(len(names), "modules")
"""


def test_each_module_is_imported_alone():
    said = subprocess.run([sys.executable, "-c", EACH], capture_output=True, text=True, check=True)
    *failed, count = said.stdout.splitlines()
    assert not failed and int(count.split()[0]) > 90
