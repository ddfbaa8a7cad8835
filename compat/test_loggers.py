"""What LoggerCB sends arrives in Weights & Biases, MLflow and trackio, each tried without a network."""
import pytest
import torch.nn.functional as F
from cosine_lr import Accuracy, Learner, MetricsCB, ScheduleCB, cosine, digits_dls
from cosine_lr.run import LoggerCB
from torch import nn


def fit(log):
    scores = MetricsCB(Accuracy(), log=lambda line: None)
    cbs = [scores, ScheduleCB(lr=.5*cosine()), LoggerCB(log, every=5)]
    Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy).fit(2, cbs=cbs)
    return scores.rows


def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip('mlflow')
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    mlflow.set_tracking_uri(f'file://{tmp_path}/runs')
    with mlflow.start_run() as run: rows = fit(mlflow.log_metrics)
    client = mlflow.MlflowClient()
    points = {m.step: m.value for m in client.get_metric_history(run.info.run_id, 'lr')}
    assert [*points] == [5, 10, 15, 22, 27, 32] and abs(points[5] - .5*cosine()(4/34)) < 1e-12
    found = client.get_metric_history(run.info.run_id, 'epoch/accuracy')
    assert [m.value for m in found] == [row['accuracy'] for row in rows]


def test_wandb(tmp_path):
    wandb = pytest.importorskip('wandb')
    run = wandb.init(project='digits', mode='offline', dir=tmp_path)
    rows = fit(run.log)
    run.log({}, step=1000)  # a later step: the ones before are complete
    assert run.summary['epoch/accuracy'] == rows[-1]['accuracy']
    assert abs(run.summary['lr'] - .5*cosine()(31/34)) < 1e-12
    run.finish()
    assert [*tmp_path.glob('wandb/offline-run-*/*.wandb')]


def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv('TRACKIO_DIR', str(tmp_path))
    trackio = pytest.importorskip('trackio')
    trackio.init(project='digits')
    fit(trackio.log)
    trackio.finish()
    assert [*tmp_path.glob('**/*.db')]
