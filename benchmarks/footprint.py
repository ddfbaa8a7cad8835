"""What an installation costs: seconds to import, megabytes, packages, lines of code."""
import io
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from .measure import clocked, measure

ROOT = Path(__file__).resolve().parent.parent
OURS = 'cosine_lr'
# the distribution, and what its users import at the least
PEERS = {'fastai': 'fastai.learner', 'lightning': 'lightning', 'pytorch-ignite': 'ignite.engine', 'skorch': 'skorch', 'accelerate': 'accelerate',
         'torch-lr-finder': 'torch_lr_finder', 'optuna': 'optuna', 'transformers': 'transformers.optimization', 'optax': 'optax'}


def importing(module): return clocked(lambda k: subprocess.run([sys.executable, '-W', 'ignore', '-c', f'import {module}'], check=True, cwd=ROOT, capture_output=True) and None)


def needs(name):
    "What a distribution cannot do without, as its metadata says; ours stand in settings.ini"
    if name == OURS: lines = re.search(r'^requirements = (.*)$', (ROOT/'settings.ini').read_text(), re.MULTILINE)[1].split()
    else: lines = distribution(name).requires or []
    reqs = [Requirement(line) for line in lines]
    return {(r.name, extra) for r in reqs if not r.marker or r.marker.evaluate({'extra': ''}) for extra in ('', *r.extras)}


def closure(name):
    "Names of all packages that `pip install name` brings, itself included"
    seen, todo = set(), [(name, '')]
    while todo:
        one, extra = todo.pop()
        if ((key := re.sub(r'[-_.]+', '-', one).lower()), extra) in seen: continue
        seen.add((key, extra))
        try: todo += needs(one) if not extra else [(r.name, '') for r in map(Requirement, distribution(one).requires or []) if r.marker and r.marker.evaluate({'extra': extra})]
        except PackageNotFoundError: pass # not for this machine, or left out of this environment
    return {key for key, _ in seen}


def files(name):
    "{path: bytes} of what is installed, compiled Python left out"
    if name == OURS: paths = [(p.relative_to(ROOT), p) for p in sorted((ROOT/OURS).rglob('*')) if p.is_file()]
    else: paths = [(p, Path(p.locate())) for p in distribution(name).files if '..' not in p.parts]
    return {str(short): path.read_bytes() for short, path in paths if path.suffix != '.pyc' and path.exists()}


def zipped(contents):
    "Bytes of the files in a zip archive, which a wheel is"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items(): archive.writestr(name, data)
    return len(buffer.getvalue())


def weight(name):
    contents = files(name)
    code = [data.decode(errors='replace') for path, data in contents.items() if path.endswith('.py') and not re.search(r'(^|/)tests?/|_modidx', path)]
    return dict(wheel_mb=zipped(contents)/1e6, packages=len(closure(name) - closure('torch')), lines=sum(bool(line.strip()) for text in code for line in text.splitlines()))


def run(rounds):
    modules = {'torch': 'torch', OURS: OURS, **PEERS}
    return {'import': measure({name: importing(module) for name, module in modules.items()}, max(5, rounds//4), 'import', 'torch'),
            'weight': {name: weight(name) for name in (OURS, *PEERS)}}
