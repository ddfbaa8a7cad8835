"""Run every notebook in place, or those named, as JupyterLab would.

Cells marked `#| eval: false` keep their outputs. Of an output that is a widget and a picture, the picture is
kept: where there is no kernel, a widget is a line of raw text. With --check, nothing is written: each
output, a figure's bytes too, must be the one in the notebook. It is, on the machine that made them, as
kernels run on one thread; a processor of another kind rounds in other places.
"""
import argparse
import os
import re
import sys

import nbformat
from nbclient import NotebookClient

from tutorial import ROOT, WIDGET, is_evaluated, named, notebooks

ADDRESS = re.compile(r' at 0x[0-9a-fA-F]+')


class Client(NotebookClient):
    async def async_execute_cell(self, cell, *args, **kwargs):
        return await super().async_execute_cell(cell, *args, **kwargs) if is_evaluated(cell) else cell


def drop_widgets(nb):
    nb.metadata.pop('widgets', None)
    for cell in nb.cells:
        for output in cell.get('outputs', ()): output.get('data', {}).pop(WIDGET, None)


def joined(outputs):
    "Outputs in which prints that follow each other are one: where a kernel cuts them is chance"
    whole = []
    for output in outputs:
        if output.output_type == 'stream' and whole and whole[-1].get('name') == output.name:
            whole[-1] = nbformat.NotebookNode(whole[-1], text=whole[-1].text + output.text)
        else: whole.append(output)
    return whole


def run(path):
    "The notebook with its outputs made anew"
    nb = nbformat.read(path, as_version=4)
    client = Client(nb, timeout=600, record_timing=False, resources={'metadata': {'path': str(path.parent)}})
    client.execute(env=os.environ | dict(OMP_NUM_THREADS='1'))  # two threads add up in another order than one
    drop_widgets(nb)
    for cell in nb.cells:
        if 'outputs' in cell: cell.outputs = joined(cell.outputs)
    return nb


def shown(cell):
    "What a reader sees below a cell, as (kind, content); addresses in memory are left out"
    seen = []
    for output in joined(cell.get('outputs', ())):
        data = {output.name: output.text} if output.output_type == 'stream' else output.get('data', {})
        seen += [(kind, ADDRESS.sub('', str(text))) for kind, text in data.items()]
    return seen


def differences(new, old):
    "Cells whose outputs are others, a line each"
    for a, b in zip(new.cells, old.cells, strict=True):
        kinds = {kind for kind, _ in set(shown(a)) ^ set(shown(b))}
        if kinds: yield f"cell {a.id}: {', '.join(sorted(kinds))}"


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('names', nargs='*', metavar='notebook', help='names without .ipynb (default: all)')
    parser.add_argument('--check', action='store_true',
                        help='write nothing; fail where an output is not the one in the notebook')
    args = parser.parse_args()
    try: paths = named(notebooks(ROOT), args.names)
    except ValueError as error: parser.error(str(error))
    differ = []
    for k, path in enumerate(paths, 1):
        print(f'{k} of {len(paths)}: {path.relative_to(ROOT)}', flush=True)
        nb = run(path)
        found = [*differences(nb, nbformat.read(path, as_version=4))] if args.check else []
        for line in found: print(f'    {line}', flush=True)
        if found: differ.append(path.name)
        if not args.check: nbformat.write(nb, path)
    if differ: sys.exit(f"Other outputs than those in the notebook: {', '.join(differ)}")


if __name__ == '__main__': main()
