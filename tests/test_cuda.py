"""Where there is a GPU: a captured CUDA graph sees what a schedule writes."""
import pytest
import torch

from cosine_lr import CheckpointCB, DeviceCB, Learner, ScheduleCB, ScheduleLR, cosine, digits_dls, lr_find
from cosine_lr.learner import Callback

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(),
                               reason='no CUDA device: CUDA graphs cannot be tested here')


@needs_gpu
def test_a_cuda_graph_sees_the_schedule():
    weight = torch.zeros(4, device='cuda', requires_grad=True)
    opt = torch.optim.Adam([weight], lr=torch.tensor(.1, device='cuda'), capturable=True)
    weight.grad = torch.ones_like(weight)
    opt.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph): opt.step()
    sched, moved = ScheduleLR(opt, lr=0.1*cosine(), total_steps=4), []
    for _ in range(4):
        before = weight.detach().clone()
        graph.replay()
        moved.append((before - weight.detach()).abs().max().item())
        sched.step()
    expected = [(.1*cosine())(k/4) for k in range(4)]
    assert all(abs(m - e) < .01*e for m, e in zip(moved, expected))


@needs_gpu
def test_lr_find_leaves_no_trace_on_a_gpu():
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Dropout(.5), torch.nn.Linear(32, 10))
    learn = Learner(model, digits_dls(), torch.nn.functional.cross_entropy, cbs=DeviceCB('cuda'))
    def places(): return [(p.device, p.data_ptr(), p.tolist()) for p in model.parameters()]
    dice, before = torch.cuda.get_rng_state(), places()
    lr_find(learn, sweeps=2)
    assert torch.equal(dice, torch.cuda.get_rng_state()) and places() == before


class Stop(Exception): pass


class StopAfter(Callback):
    def __init__(self, steps): self.steps = steps
    def after_step(self, learn):
        if learn.steps == self.steps: raise Stop


def fit_on(device, folder, *cbs):
    "Weights and the optimizer's state after a fit that draws on the device, as bits"
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Dropout(.5), torch.nn.Linear(32, 10))
    keep = CheckpointCB(folder, every=1, log=lambda line: None)
    learn = Learner(model, digits_dls(), torch.nn.functional.cross_entropy, .01,
                    [DeviceCB(device), ScheduleCB(lr=0.01*cosine()), keep], torch.optim.AdamW)
    learn.fit(2, valid=False, cbs=cbs)
    tensors = [*model.parameters()]
    tensors += [t for state in learn.opt.state.values() for t in state.values() if t.ndim]
    assert all(t.device.type == torch.device(device).type for t in tensors)
    return [t.tolist() for t in tensors]


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=needs_gpu)])
def test_a_fit_resumes_on_its_device_with_the_same_bits(tmp_path, device):
    straight = fit_on(device, tmp_path/'straight')
    with pytest.raises(Stop): fit_on(device, tmp_path/'stopped', StopAfter(9))
    assert fit_on(device, tmp_path/'stopped') == straight


@needs_gpu
def test_a_checkpoint_of_a_gpu_goes_on_without_one_and_back(tmp_path):
    with pytest.raises(Stop): fit_on('cuda', tmp_path, StopAfter(9))
    with pytest.raises(Stop): fit_on('cpu', tmp_path, StopAfter(18))
    fit_on('cuda', tmp_path)
