"""The built wheel in other people's loops (compat/), then every notebook with nbdev 3 and fastcore 2; run by `make compat` in .venv-compat.

Name one or more parts to run only those: `wheel clients notebooks`. The wheel is built and installed anew only when the package has changed.
"""
import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from test import PACKAGE, ROOT, run_notebooks

BIN = Path(sys.executable).parent
STAMP = BIN.parent/'wheel.sha256'
METADATA = ('settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE')


def call(*command, **kwargs):
    "Run a command of this Python's environment, away from the repository's own package."
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'} | dict(OMP_NUM_THREADS='1', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')
    return subprocess.run([str(part) for part in command], env=env, **kwargs).returncode


def digest(root):
    sha = hashlib.sha256()
    for path in sorted([*(root/PACKAGE).rglob('*.py'), root/PACKAGE/'py.typed', *(root/name for name in METADATA)]):
        if path.exists(): sha.update(path.relative_to(root).as_posix().encode() + b'\0' + path.read_bytes())
    return sha.hexdigest()


def wheel(root, tmp):
    "The wheel is built from a copy, where no stale build/ can slip in, and installed"
    if STAMP.exists() and STAMP.read_text() == digest(root): return []
    STAMP.unlink(missing_ok=True)
    for name in METADATA:
        if (root/name).exists(): shutil.copy(root/name, tmp)
    shutil.copytree(root/PACKAGE, tmp/PACKAGE, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    pip = (sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check')
    if call(*pip, 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', tmp/'dist', tmp): return ['the wheel cannot be built']
    if call(*pip, 'install', '--no-deps', '--force-reinstall', *(tmp/'dist').glob('*.whl')): return ['the wheel cannot be installed']
    if call(*pip, 'check', stdout=subprocess.DEVNULL): print('pip check: some of the other packages disagree among themselves')
    STAMP.write_text(digest(root))
    return []


def clients(root, tmp):
    "Schedules and ScheduleLR in torch, fastai, Lightning, ignite, Accelerate, transformers; optax and they as oracles"
    return ['pytest failed'] if call(BIN/'pytest', '--quiet', '--no-header', '-p', 'no:cacheprovider', '--durations', '5', root/'compat', cwd=tmp) else []


def notebooks(root, tmp):
    "Every notebook, with nbdev 3 and fastcore 2, importing the wheel"
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(root/name, tmp)
    shutil.copytree(root/'nbs', tmp/'nbs', ignore=shutil.ignore_patterns('.*'))
    passed, reasons = run_notebooks(tmp, workers=2, command='nbdev-test')
    print(f'{len(passed)} passed, {len(reasons)} failed')
    return [f'{name}: {reason}' for name, reason in reasons.items()] or ([] if passed else ['there are no notebooks'])


def main():
    parts = {'wheel': wheel, 'clients': clients, 'notebooks': notebooks}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', metavar='part', help=f"{', '.join(parts)} (default: all)")
    chosen = parser.parse_args().parts or list(parts)
    if unknown := set(chosen) - parts.keys(): parser.error(f'no part is called {sorted(unknown)[0]}')
    os.environ.pop('PYTHONPATH', None)
    wrong = []
    for name in chosen:
        print(f'--- {parts[name].__doc__}', flush=True)
        with tempfile.TemporaryDirectory() as tmp: faults = parts[name](ROOT, Path(tmp))
        print(*faults, 'failed' if faults else 'ok', sep='\n', flush=True)
        if faults: wrong.append(name)
    sys.exit(f"make compat failed: {', '.join(wrong)}" if wrong else 0)


if __name__ == '__main__': main()
