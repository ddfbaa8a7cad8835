"""The lines that 11_torch shows for other libraries, word for word: the rates that their optimizers used."""
import json
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from common import WithLoss, net, problem
from cosine_lr import ScheduleLR, warmup_cosine
from torch.utils.data import DataLoader, TensorDataset

NOTEBOOK = Path(__file__).parent.parent/'nbs/11_torch.ipynb'
EPOCHS, ROWS, BATCH = 4, 64, 8
STEPS = EPOCHS*ROWS//BATCH
EXPECTED = [(1e-3*warmup_cosine())(step/STEPS) for step in range(STEPS)]


def lines_of(library):
    "The code that the notebook shows for a library."
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    code = re.findall(r'```python\n(.+?)```', '\n'.join(''.join(cell['source']) for cell in cells), re.DOTALL)
    return next(text for text in code if re.search(rf'^(from|import) {library}\b', text, re.MULTILINE))


def run(library, **names):
    names = dict(torch=torch, F=F, ScheduleLR=ScheduleLR, warmup_cosine=warmup_cosine, epochs=EPOCHS) | names
    exec(lines_of(library), names)
    return names


@pytest.fixture
def used(monkeypatch):
    "A list that grows with each step of an AdamW: the learning rate that it used."
    rates, step = [], torch.optim.AdamW.step
    def stepped(self, *args, **kw):
        rates.append(self.param_groups[0]['lr'])
        return step(self, *args, **kw)
    monkeypatch.setattr(torch.optim.AdamW, 'step', stepped)
    return rates


@pytest.mark.parametrize('accumulate', [1, 2, 3]) # an epoch of 8 batches
def test_trainer(tmp_path, used, accumulate):
    from transformers import TrainingArguments
    args = TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, use_cpu=True,
        report_to=[], disable_tqdm=True, logging_strategy='no', save_strategy='no',
        gradient_accumulation_steps=accumulate)
    data = [dict(x=x, labels=y) for x, y in zip(*problem(ROWS))]
    run('transformers', model=WithLoss(), args=args, data=data)['trainer'].train()
    steps = EPOCHS*math.ceil(ROWS/BATCH/accumulate)
    assert used == [(1e-3*warmup_cosine())(step/steps) for step in range(steps)]


def test_lightning(tmp_path, used):
    import lightning
    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()
        def training_step(self, batch, _): return F.cross_entropy(self.net(batch[0]), batch[1])
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator='cpu', default_root_dir=tmp_path, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(run('lightning', Net=Net)['Model'](), DataLoader(TensorDataset(*problem(ROWS)), BATCH))
    assert used == EXPECTED


def test_accelerate(used):
    model = net()
    run('accelerate', model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1.),
        loader=DataLoader(TensorDataset(*problem(ROWS)), BATCH))
    assert used == EXPECTED


def test_fastai():
    from fastai.callback.progress import ProgressCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    loader = DataLoader(TensorDataset(*problem(ROWS)), BATCH)
    learn = Learner(DataLoaders(loader, loader), net(), loss_func=F.cross_entropy)
    with learn.removed_cbs(learn.cbs.filter(lambda cb: isinstance(cb, ProgressCallback))), learn.no_logging():
        run('fastai', learn=learn)
    assert learn.opt.hypers[0]['lr'] == pytest.approx((1e-3*warmup_cosine())((STEPS - 1)/STEPS), rel=1e-9)
