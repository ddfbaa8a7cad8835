"""What the installed package must be: from a wheel, typed, lazy and light. Run where nothing else is."""
import sys
from importlib import import_module
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path

import cosine_lr

# Without torch, a schedule can be had, and drawn; nothing of ours is imported before it is used.
assert 'torch' not in sys.modules, 'import cosine_lr imports torch'
ours = [name for name in sys.modules if name.startswith('cosine_lr.')]
assert not ours, f'import cosine_lr imports {ours}'

package = Path(cosine_lr.__file__).parent
assert 'site-packages' in package.parts, f'imported from {package}'
for name in ('py.typed', '__init__.pyi', 'view/__init__.pyi', 'run/__init__.pyi', 'lab/__init__.pyi'):
    assert (package/name).exists(), f'{name} is not in the wheel'
for name in ('nbdev', 'fastcore', 'jupyterlab', 'ipywidgets', 'datasets'):
    assert find_spec(name) is None, f'the wheel pulls in {name}'

links = {link.split(',')[0] for link in metadata('cosine_lr').get_all('Project-URL')}
assert links == {'Docs', 'Repository', 'Changelog'}, f'the links of the wheel are {links}'

for room in ('cosine_lr', 'cosine_lr.view', 'cosine_lr.run', 'cosine_lr.lab'):
    module = import_module(room)
    for name in module.__all__: getattr(module, name)
    print(f'{room}: {len(module.__all__)} names')
print(f'cosine_lr {cosine_lr.__version__} from the wheel: ok')
