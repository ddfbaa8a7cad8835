"""The built wheel in other people's loops (compat/), then with nbdev 3 and fastcore 2; run by `make compat`.

Name one or more parts to run only those: `wheel clients export notebooks`. Of the notebooks the numbered
ones run; with --all they all do. The wheel is built and installed anew only when the package has changed.
All of it is in .venv-compat.
"""
import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from test import export as exported_by
from tutorial import PACKAGE, ROOT, notebooks, run_notebooks

BIN = Path(sys.executable).parent
STAMP = BIN.parent/'wheel.sha256'
METADATA = ('settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE')
QUIET = dict(OMP_NUM_THREADS='1', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')


def call(*command, **kwargs):
    "Run a command of this Python's environment, away from the repository's own package."
    env = os.environ | QUIET
    env.pop('PYTHONPATH', None)
    return subprocess.run([str(part) for part in command], env=env, **kwargs).returncode


def digest(root):
    "Of all that goes into the wheel."
    sha = hashlib.sha256()
    files = [path for kind in ('*.py', '*.pyi', 'py.typed') for path in (root/PACKAGE).rglob(kind)]
    for path in sorted([*files, *(root/name for name in METADATA)]):
        if path.exists(): sha.update(path.relative_to(root).as_posix().encode() + b'\0' + path.read_bytes())
    return sha.hexdigest()


def wheel(root, tmp):
    "The wheel is built from a copy, where no stale build/ can slip in, and installed"
    if STAMP.exists() and STAMP.read_text() == digest(root): return []
    STAMP.unlink(missing_ok=True)
    for name in METADATA:
        if (root/name).exists(): shutil.copy(root/name, tmp)
    shutil.copytree(root/PACKAGE, tmp/PACKAGE, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    pip = partial(call, sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check')
    if pip('wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', tmp/'dist', tmp):
        return ['the wheel cannot be built']
    if pip('install', '--no-deps', '--force-reinstall', *(tmp/'dist').glob('*.whl')):
        return ['the wheel cannot be installed']
    if pip('check', stdout=subprocess.DEVNULL): print('pip check: some of the other packages disagree')
    STAMP.write_text(digest(root))
    return []


def clients(root, tmp):
    "Schedules and ScheduleLR in torch, fastai, Lightning, ignite, Accelerate, transformers; they as oracles"
    options = ['--quiet', '--no-header', '-p', 'no:cacheprovider', '--durations', '5',
               '--numprocesses', '2', '--dist', 'loadfile']  # a file's tests share launchers and ports
    status = call(BIN/'pytest', *options, root/'compat', cwd=tmp)
    return [f'pytest ended with status {status}'] if status else []


def export(root, tmp):
    "nbdev 3 exports every module as nbdev 2 does"
    return exported_by(root, command='nbdev-export')


def numbered(root, tmp, everything=False):
    "The numbered notebooks, with nbdev 3, fastcore 2 and two threads, as a reader has, importing the wheel"
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(root/name, tmp)
    shutil.copytree(root/'nbs', tmp/'nbs', ignore=shutil.ignore_patterns('.*'))
    for path in notebooks(tmp):
        if not everything and not path.name[0].isdigit(): path.unlink()
    passed, reasons = run_notebooks(tmp, workers=2, command='nbdev-test', OMP_NUM_THREADS='2')
    print(f'{len(passed)} passed, {len(reasons)} failed')
    if not passed and not reasons: return ['there are no notebooks']
    return [f'{name}: {reason}' for name, reason in reasons.items()]


def main():
    parts = {'wheel': wheel, 'clients': clients, 'export': export, 'notebooks': numbered}
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('parts', nargs='*', metavar='part', help=f"{', '.join(parts)} (default: all)")
    parser.add_argument('--all', action='store_true', help='run every notebook, not the numbered ones alone')
    args = parser.parse_args()
    chosen = args.parts or list(parts)
    unknown = [name for name in chosen if name not in parts]
    if unknown: parser.error(f'no part is called {unknown[0]}')
    os.environ.pop('PYTHONPATH', None)
    took, wrong = {}, []
    for k, name in enumerate(chosen, 1):
        start = time.monotonic()
        print(f'--- {k} of {len(chosen)}, {name}: {parts[name].__doc__}', flush=True)
        more = {'everything': True} if name == 'notebooks' and args.all else {}
        with tempfile.TemporaryDirectory() as tmp: faults = parts[name](ROOT, Path(tmp), **more)
        took[name] = f'{time.monotonic() - start:.0f} s'
        print(*faults, f"{'failed' if faults else 'ok'} ({took[name]})", sep='\n', flush=True)
        if faults: wrong.append(name)
    print('---', ', '.join(f'{name} {seconds}' for name, seconds in took.items()))
    sys.exit(f"make compat failed: {', '.join(wrong)}" if wrong else 0)


if __name__ == '__main__': main()
