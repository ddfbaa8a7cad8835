"""Run every notebook in place, or those named, as JupyterLab would, but for cells marked `#| eval: false`: those keep their outputs.

Of an output that is a widget and a picture, the picture is kept: where there is no kernel, a widget is a line of raw text.
"""
import sys

import nbformat
from nbclient import NotebookClient

from test import ROOT, WIDGET, is_evaluated, notebooks


class Client(NotebookClient):
    async def async_execute_cell(self, cell, *args, **kwargs):
        return await super().async_execute_cell(cell, *args, **kwargs) if is_evaluated(cell) else cell


def drop_widgets(nb):
    nb.metadata.pop('widgets', None)
    for cell in nb.cells:
        for output in cell.get('outputs', ()): output.get('data', {}).pop(WIDGET, None)


for path in notebooks(ROOT):
    if sys.argv[1:] and path.stem not in sys.argv[1:]: continue
    print(path.relative_to(ROOT), flush=True)
    nb = nbformat.read(path, as_version=4)
    Client(nb, timeout=600, record_timing=False, resources={'metadata': {'path': str(path.parent)}}).execute()
    drop_widgets(nb)
    nbformat.write(nb, path)
