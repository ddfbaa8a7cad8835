"""Build the site: the notebooks with their outputs, and a reference made from docstrings, signatures and the comments on parameters.

Everything a page needs (formulas, search, fonts) comes with it: the site works without a network.
"""
import argparse
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

import numpy as np
from nbdev.showdoc import BasicMarkdownRenderer, show_doc

from test import PACKAGE, ROOT, notebooks

SETTINGS = ConfigParser(delimiters=['='])
SETTINGS.read(ROOT/'settings.ini', encoding='utf-8')
REPOSITORY = '{git_url}/blob/{branch}'.format_map(SETTINGS['DEFAULT'])
OUTSIDE = re.compile(r'(?<!!)\]\(\.\./((?!docs/readme)[^)]+)\)')
TREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def source(cell): return ''.join(cell['source'])


def title(path):
    "The notebook's question, its first heading."
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        if match := re.search(r'^# (.+)$', source(cell), re.MULTILINE): return match[1]
    raise ValueError(f'{path.name} has no heading')


def module_of(nb):
    "The module that a notebook exports, or None."
    for cell in nb['cells']:
        if match := re.search(r'^#\|\s*default_exp\s+(\S+)', source(cell), re.MULTILINE): return match[1]


def page_of(nb):
    "The notebook with nbdev's directives obeyed, the text of images that would be fetched from elsewhere, and links to files of the repository that are no pages."
    kept = [cell for cell in nb['cells'] if not re.search(r'^#\|\s*(default_exp|hide\s*$)', source(cell), re.MULTILINE)]
    for cell in kept:
        if re.search(r'^#\|\s*echo:\s*false', source(cell), re.MULTILINE): cell['metadata'] = {'tags': ['remove-input']}
        if cell['cell_type'] == 'code': cell['source'] = re.sub(r'^#\|.*\n?', '', source(cell), flags=re.MULTILINE)
        else: cell['source'] = OUTSIDE.sub(rf'](<{REPOSITORY}/\1>)', re.sub(r'!\[([^]]*)\]\(https?://[^)]*\)', r'\1', source(cell)))
    return nb | {'cells': kept}


def example_of(name, nb):
    "The first cell after the definition that uses `name`: it is run by every test, and its figure stands in the notebook."
    cells = [cell for cell in nb['cells'] if cell['cell_type'] == 'code']
    defined = [i for i, cell in enumerate(cells) if re.search(rf'^(def|class) {name}\b|^{name} *=', source(cell), re.MULTILINE)]
    for cell in cells[defined[-1] + 1:] if defined else ():
        if re.search(rf'\b{name}\b', source(cell)) and not re.search(r'^#\|\s*export', source(cell), re.MULTILINE): return source(cell)


def reference(nb, path):
    "A page for one module: each public name with its signature, its comments on parameters, and an example."
    module = importlib.import_module(f'{PACKAGE}.{module_of(nb)}')
    yield f'# `{module.__name__}`\n\n{module.__doc__}\n\nTaught in [{title(path)}](../{path.name})\n'
    for name in module.__all__:
        yield f'## {name}\n\n{entry(getattr(module, name), 3)}'
        if example := example_of(name, nb): yield f'From the notebook:\n\n```python\n{example}\n```\n'


class Text(str):
    def __repr__(self): return str(self)


def shorten_defaults(function):
    "An array among the defaults becomes a few words: `show_doc` would compare it, and a reader would not read it."
    shown = [Text(f'<{len(d)} values from {d[0]:g} to {d[-1]:g}>') if isinstance(d, np.ndarray) else d for d in function.__defaults__ or ()]
    if shown: function.__defaults__ = tuple(shown)


def entry(thing, level):
    "Signature and docstring, and for a class its own public methods."
    if inspect.isfunction(thing): shorten_defaults(thing)
    if isinstance(thing, dict): return f"A dictionary with {', '.join(f'`{key!r}`' for key in thing)}.\n"
    text = show_doc(thing, renderer=BasicMarkdownRenderer)._repr_markdown_()
    text = re.sub(r'^---$|^\[source\].*$|^#+ .*$', '', text, flags=re.MULTILINE).strip() + '\n'
    methods = vars(thing).items() if inspect.isclass(thing) else ()
    for name, method in methods:
        if inspect.isfunction(method) and not name.startswith('_') and method.__doc__: text += f"\n{'#'*level} {thing.__name__}.{name}\n\n{entry(method, level + 1)}"
    return text


def lay_out(root, to):
    "Write the pages that Sphinx reads."
    (to/'reference').mkdir()
    shutil.copytree(root/'docs'/'readme', to.parent/'docs'/'readme', dirs_exist_ok=True)
    chapters, rooms, modules = [], [], []
    for path in notebooks(root):
        nb = json.loads(path.read_text(encoding='utf-8'))
        if path.stem != 'index': (chapters if path.stem[0].isdigit() else rooms).append(path.stem)
        if module_of(nb):
            modules.append(f'reference/{module_of(nb)}')
            (to/f'{modules[-1]}.md').write_text('\n'.join(reference(nb, path)), encoding='utf-8')
        (to/path.name).write_text(json.dumps(page_of(nb)), encoding='utf-8')
    words = [path.stem for path in (root/'nbs').glob('*.md')]
    for name in words: shutil.copy(root/'nbs'/f'{name}.md', to)
    index = json.loads((to/'index.ipynb').read_text(encoding='utf-8'))
    trees = ''.join(TREE.format(caption=caption, pages='\n'.join(pages)) for caption, pages in
                    (('The tutorial', chapters), ('Side rooms', rooms), ('Reference', words + modules)))
    index['cells'].append(dict(cell_type='markdown', id='contents', metadata={}, source=trees))
    (to/'index.ipynb').write_text(json.dumps(index), encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository')
    parser.add_argument('--out', type=Path, default=ROOT/'_docs', help='where the site goes (default: _docs)')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        pages = Path(tmp)/'pages'
        pages.mkdir()
        lay_out(args.root, pages)
        built = subprocess.run([sys.executable, '-m', 'sphinx', '--quiet', '--fail-on-warning', '--keep-going', '-c', args.root/'docs', pages, Path(tmp)/'html'])
        if built.returncode: sys.exit('The site has faults: see above')
        shutil.rmtree(args.out, ignore_errors=True)
        shutil.copytree(Path(tmp)/'html', args.out)
    print(f'{args.out}/index.html')


if __name__ == '__main__': main()
