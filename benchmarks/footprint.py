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
# The distribution, and what its users import at the least. Ours imports nothing before a name is used.
MODULES = {
    OURS: 'cosine_lr.finder', 'fastai': 'fastai.learner', 'lightning': 'lightning',
    'pytorch-ignite': 'ignite.engine', 'skorch': 'skorch', 'accelerate': 'accelerate',
    'torch-lr-finder': 'torch_lr_finder', 'optuna': 'optuna', 'transformers': 'transformers.optimization',
    'optax': 'optax',
}


def importing(module):
    command = [sys.executable, '-W', 'ignore', '-c', f'import {module}']
    def once(k): subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return clocked(once)


def requirements(name):
    "What a distribution says that it needs; ours stand in settings.ini"
    if name != OURS: return [Requirement(line) for line in distribution(name).requires or []]
    line = re.search(r'^requirements = (.*)$', (ROOT/'settings.ini').read_text(), re.MULTILINE)[1]
    return [Requirement(word) for word in line.split()]


def needs(name, extra):
    "Pairs (distribution, its extra) that a distribution, or an extra of it, cannot do without"
    if extra:
        wanted = [r for r in requirements(name) if r.marker and r.marker.evaluate({'extra': extra})]
        return {(r.name, '') for r in wanted}
    always = [r for r in requirements(name) if not r.marker or r.marker.evaluate({'extra': ''})]
    return {(r.name, more) for r in always for more in ('', *r.extras)}


def closure(name):
    "Names of all packages that `pip install name` brings, itself included"
    seen, todo = set(), [(name, '')]
    while todo:
        one, extra = todo.pop()
        key = re.sub(r'[-_.]+', '-', one).lower()
        if (key, extra) in seen: continue
        seen.add((key, extra))
        try: todo += needs(one, extra)
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


def is_code(path): return path.endswith('.py') and not re.search(r'(^|/)tests?/|_modidx', path)


def weight(name):
    contents = files(name)
    code = [data.decode(errors='replace') for path, data in contents.items() if is_code(path)]
    lines = [line for text in code for line in text.splitlines() if line.strip()]
    beside_torch = closure(name) - closure('torch')
    return dict(wheel_mb=zipped(contents)/1e6, packages=len(beside_torch), lines=len(lines))


def run(rounds):
    imports = {name: importing(module) for name, module in {'torch': 'torch', **MODULES}.items()}
    return {'import': measure(imports, max(5, rounds//4), 'import', 'torch'),
            'weight': {name: weight(name) for name in MODULES}}
