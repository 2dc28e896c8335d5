"""What the benchmarks count and read; that they run at all is seen where their tables are made."""
import os
import sys

import numpy as np
import pytest

from conftest import ROOT

sys.path.insert(0, os.path.join(ROOT, 'benchmarks'))
import large_set  # noqa: E402 (after the path)
import runs  # noqa: E402
import step_profile  # noqa: E402
import step_variants  # noqa: E402
import steps  # noqa: E402
import time_to_accuracy  # noqa: E402

LOG = '''$ python deep_nn.py
step   0/500  epoch  0.00  minibatch loss 2.9  validation accuracy  17.9%  lr 0.3000  0.9s
step 250/500  epoch  0.80  minibatch loss 0.2  validation accuracy  95.8%  lr 0.2000  2.5s
step 500/500  epoch  1.67  minibatch loss 0.1  validation accuracy  96.1%  lr 0.1000  4.0s
Test accuracy: 96.2% (4267/4435)  best validation 96.1% at step 500  seed 42
'''


@pytest.mark.parametrize('target,passed', [(95.8, (250, 2.5)), (96.0, (500, 4.0)), (96.2, None)])
def test_the_first_report_that_passes(target, passed):
    found = time_to_accuracy.passes(LOG, target)
    assert found == passed or passed is None and np.isnan(found).all()


def test_a_log_is_read():
    assert runs.test_accuracy(LOG) == 100 * 4267 / 4435 and runs.seconds(LOG) == 4.0
    assert runs.test_accuracy('The loss is nan at step 7') is None


def test_a_command_runs_once_and_again_on_demand(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, 'RESULTS', str(tmp_path))
    script = tmp_path / 'count.py'
    script.write_text('with open(%r, "a") as file: file.write("x")\nprint(open(%r).read())' % (
        (str(tmp_path / 'count'),) * 2))
    for again, expected in ((False, 'x'), (False, 'x'), (True, 'xx')):
        assert runs.log(str(script), 'some', 'name', again) == '$ python %s\n%s\n' % (
            script, expected)
    script.write_text('raise SystemExit(1)')
    with pytest.raises(SystemExit, match='failed'):
        runs.log(str(script), 'some', 'name', again=True)
    assert (tmp_path / 'some' / 'name.log').read_text().endswith('xx\n')  # the good one stays


def test_a_peak_of_memory_is_the_commands_own():
    held = np.ones(40 * 10 ** 6)  # 0.32 GB here
    wall, processor, peak = large_set.measure('-c', 'held = bytearray(b"x") * 10 ** 8')
    assert 0.1 < peak < 0.25 < held.nbytes / 1e9 and 0 < processor and 0 < wall


def test_operations_of_a_step():
    """Three products for each layer but the first, which has two; each 2 x batch x in x out."""
    assert steps.flops([784, 10]) == 2 * 2 * 128 * 784 * 10
    assert steps.flops([784, 1024, 10]) == 2 * 128 * (2 * 784 * 1024 + 3 * 1024 * 10)


def test_the_profile_times_the_products_that_are_counted():
    sizes = [784, 1024, 512, 10]
    found = list(step_profile.products(sizes))
    assert sum(operations for _, operations, *_ in found) == steps.flops(sizes) and len(found) == 8
    for what, operations, a, b, transposed in found:
        a, b = np.zeros(a), np.zeros(b)
        a = a.T if transposed.get('transpose_a') else a
        b = b.T if transposed.get('transpose_b') else b
        assert 2 * a.shape[0] * a.shape[1] * b.shape[1] == operations and len(a @ b), what


def test_the_networks_are_those_of_the_lessons():
    import deep_nn
    import layers
    six = step_variants.NETWORKS['six layers']
    assert six.keep == [1 - 0.5 * layers.dropout_share(layer, 6) for layer in range(5)]
    assert six.rate == deep_nn.LEARNING_RATES['sgd'] and len(six.sizes) == 7
    weights, biases = step_variants.initial(six)[0]
    assert weights.shape == (784, 1024) and not biases.any()
    np.testing.assert_allclose(weights.std(), 0.88 * np.sqrt(2 / 784), rtol=0.01)  # cut at 2
    assert step_variants.DECAY ** 20000 == pytest.approx(1 / 32)


def test_the_notes_way_learns_in_the_benchmark():
    train, loss = step_variants.plain('linear')
    before = loss()
    train(100)
    assert loss() < before / 3
