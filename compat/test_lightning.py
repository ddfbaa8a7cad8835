"""ScheduleLR in a LightningModule's configure_optimizers: plain, accumulating gradients, and resumed."""
import lightning as L
import pytest
import torch.nn.functional as F
from common import momenta, net, plan, problem, rates, sgd, witness
from torch.utils.data import DataLoader, TensorDataset


class Module(L.LightningModule):
    def __init__(self, total):
        super().__init__()
        self.net, self.total = net(), total

    def training_step(self, batch, _): return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        opt = sgd(self.net)
        self.used = witness(opt)
        return dict(optimizer=opt, lr_scheduler=dict(scheduler=plan(opt, self.total), interval='step'))


def trainer(epochs, folder, **kw):
    return L.Trainer(max_epochs=epochs, accelerator='cpu', default_root_dir=folder, logger=False,
                     enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **kw)


@pytest.mark.parametrize('accumulate', [1, 2])
def test_configure_optimizers(tmp_path, accumulate):
    total = 32//accumulate
    module, run = Module(total), trainer(4, tmp_path, accumulate_grad_batches=accumulate)
    run.fit(module, DataLoader(TensorDataset(*problem()), 8))
    assert run.global_step == total
    assert module.used == (rates(total), momenta(total))


def test_resume(tmp_path):
    loader, first, second = DataLoader(TensorDataset(*problem()), 8), Module(32), Module(32)
    run = trainer(2, tmp_path)
    run.fit(first, loader)
    run.save_checkpoint(tmp_path/'half.ckpt')
    trainer(4, tmp_path).fit(second, loader, ckpt_path=tmp_path/'half.ckpt')
    assert first.used[0] + second.used[0] == rates(32) and first.used[1] + second.used[1] == momenta(32)
