"""Run every notebook in place, as JupyterLab would, but for cells marked `#| eval: false`: those keep their outputs."""
import nbformat
from nbclient import NotebookClient

from test import ROOT, is_evaluated, notebooks


class Client(NotebookClient):
    async def async_execute_cell(self, cell, *args, **kwargs):
        return await super().async_execute_cell(cell, *args, **kwargs) if is_evaluated(cell) else cell


for path in notebooks(ROOT):
    print(path.relative_to(ROOT), flush=True)
    nb = nbformat.read(path, as_version=4)
    Client(nb, timeout=600, record_timing=False, resources={'metadata': {'path': str(path.parent)}}).execute()
    nbformat.write(nb, path)
