"""curve_fit.py against closed forms: least squares, the path of gradient descent, its edge."""
import re
import struct

import numpy as np
import pytest

import curve_fit
from conftest import run_lesson

X, Y = np.array(curve_fit.X, float), np.array(curve_fit.Y, float)


def closed_form(terms, rate, steps):
    """Where gradient descent from 0 is after some steps, along the Hessian's own axes."""
    powers = X[:, None] ** np.arange(terms)
    exact = np.linalg.lstsq(powers, Y, rcond=None)[0]
    curvatures, axes = np.linalg.eigh(2 * powers.T.dot(powers))
    return exact - axes.dot((1 - rate * curvatures) ** steps * axes.T.dot(exact)), exact


def fit(terms, rate, marks):
    """Steps, losses and coefficients of a training by the lesson itself."""
    return zip(*curve_fit.train(curve_fit.build_graph(terms), rate, marks))


def table(text, name):
    """The numbers of a row of the log, once per polynomial."""
    return [np.array(row.split(), float) for row in re.findall(r'^%s +(.*)$' % name, text, re.M)]


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """The default command, run in another folder, and its folder of pictures."""
    folder = tmp_path_factory.mktemp('run')
    return run_lesson('curve_fit.py --plot pictures', cwd=folder), folder / 'pictures'


def test_every_step_is_the_textbook_step():
    _, losses, found = fit(4, 0.001, [0, 1, 2, 50])
    weights, powers = np.zeros(4), X[:, None] ** np.arange(4)
    for step in range(51):
        if step in (0, 1, 2, 50):
            i = (0, 1, 2, 50).index(step)
            np.testing.assert_allclose(found[i], weights, rtol=1e-12, atol=1e-15)
            assert losses[i] == pytest.approx(np.sum((powers.dot(weights) - Y) ** 2), rel=1e-12)
        weights -= 0.001 * 2 * powers.T.dot(powers.dot(weights) - Y)


@pytest.mark.parametrize('terms, converged', [(6, False), (3, True)])
def test_90000_steps_end_where_the_closed_form_ends(terms, converged):
    _, _, (found,) = fit(terms, 0.0005, [90000])
    path, exact = closed_form(terms, 0.0005, 90000)
    np.testing.assert_allclose(found, path, atol=1e-9)
    assert (np.abs(found - exact).max() < 1e-9) == converged


def test_the_log_holds_both_answers_and_their_difference(pictures):
    run, _ = pictures
    assert (run.returncode, run.stderr) == (0, '')
    for i, terms in enumerate((6, 3)):
        path, exact = closed_form(terms, 0.0005, 90000)
        powers = X[:, None] ** np.arange(terms)
        for name, right in [
                ('error, gradient descent', powers.dot(path) - Y),
                ('error, least squares', powers.dot(exact) - Y),
                ('coefficient, gradient descent', path), ('coefficient, least squares', exact),
                ('coefficient, difference', path - exact)]:
            np.testing.assert_allclose(table(run.stdout, name)[i], right, atol=1e-6)
    assert re.search(r'Terms 6, .*condition 476864: not converged, 75\.8% of the way', run.stdout)
    assert re.search(r'Terms 3, .*condition 18: converged', run.stdout)
    assert 'Terms 6, gradient descent  sum of squares 0.000912' in run.stdout
    assert 'Terms 3, gradient descent  sum of squares 0.833828' in run.stdout
    seconds = re.findall(r'step 90000/90000 .* ([\d.]+)s$', run.stdout, re.M)
    assert len(seconds) == 2 and max(map(float, seconds)) < 15


def test_six_terms_pass_through_the_points_and_leave_the_range_outside(pictures):
    ends = re.findall(r'Terms (\d), gradient descent .* x = -5: +([\d.-]+)  at x = 5: +([\d.-]+)',
                      pictures[0].stdout)
    far = {terms: max(abs(float(left)), abs(float(right))) for terms, left, right in ends}
    assert far['6'] > 1000 and far['3'] < 30
    errors = table(pictures[0].stdout, 'error, gradient descent')
    assert np.abs(errors[0]).max() < 0.021 and np.abs(errors[1]).max() > 0.5


def test_learning_rates_explode_oscillate_work_and_do_nothing():
    net = curve_fit.build_graph(6)
    curves = {rate: (losses, values)
              for rate, _, losses, values in curve_fit.learning_rates(net, 5000)}
    (high, half, edge, works, nothing) = sorted(curves, reverse=True)
    assert (high, half, works, nothing) == (500, 0.5, 0.0005, 5e-15)
    for rate in (high, half):
        losses = curves[rate][0]
        assert losses[1] > 1e6 * losses[0] and losses[2] > 1e6 * losses[1]
        assert not np.isfinite(losses[-1])
    from_side_to_side = np.diff(curves[edge][1][:12])
    assert np.all(from_side_to_side[1:] * from_side_to_side[:-1] < 0)
    assert np.abs(from_side_to_side).min() > 6
    assert curves[works][0][-1] < 0.2 and np.all(np.diff(curves[works][0]) < 0)
    np.testing.assert_allclose(curves[nothing][0], np.sum(Y ** 2), rtol=1e-6)


def test_the_edge_divides_falling_from_exploding():
    net = curve_fit.build_graph(6)
    ends = [list(curve_fit.train(net, factor * net.edge, [3000]))[0][1] for factor in (.99, 1.01)]
    assert ends[0] < np.sum(Y ** 2) < 1e6 < ends[1]


def test_pictures(pictures):
    import matplotlib.image
    _, folder = pictures
    assert sorted(path.name for path in folder.iterdir()) == [
        'learning_rates.png', 'polynomials.png']
    for path in folder.iterdir():
        assert path.stat().st_size < 100000
        width, height = struct.unpack('>II', path.read_bytes()[16:24])
        assert width > 600 and height > 300
        pixels = matplotlib.image.imread(str(path))[..., :3]
        colors = np.unique((pixels * 15).astype(int).reshape(-1, 3), axis=0)
        assert len(colors) > 20 and 0.02 < np.mean(pixels.min(axis=2) < 0.9) < 0.5


def test_batch_sizes(shapes, tmp_path):
    run = run_lesson('curve_fit.py --batch-sizes --data %s --plot .' % shapes, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, '')
    sizes, peaks, times, _, noises = np.array([
        re.findall(r'[\d.]+', line) for line in run.stdout.splitlines()[2:]], float).T
    assert list(sizes) == [50, 100, 200, 1000]
    assert np.all(np.diff(peaks) > 0) and times[-1] > times[0]
    # Images, hidden units, their gradient: 4 bytes each; and the gradient of the weights.
    assert peaks[-1] - peaks[0] == pytest.approx(950 * 4 * (784 + 2 * 1024) / 1e6, rel=0.35)
    np.testing.assert_allclose(noises * np.sqrt(sizes / sizes[0]), noises[0], rtol=0.25)
    assert (tmp_path / 'batch_sizes.png').stat().st_size > 5000


@pytest.mark.parametrize('flags, said', [
    ('--terms 0', '--terms'), ('--terms 2.5', '--terms'), ('--lr 0', '--lr'),
    ('--steps -1', '--steps'), ('--report-every 0', '--report-every'), ('--seed x', '--seed'),
    ('--batch-size 3', '--batch-size'), ('--batch-sizes --data nowhere.npz', 'nowhere.npz'),
    ('--terms 8', 'try --lr 2e-05'), ('--lr 0.5', 'above 0.000682')])
def test_refusals_are_one_sentence_and_code_2(flags, said, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['curve_fit.py'] + flags.split())
    with pytest.raises(SystemExit) as stop:
        curve_fit.utils.run(curve_fit.main)
    sentence = capsys.readouterr().err
    assert stop.value.code == 2 and len(sentence.splitlines()) == 1 and said in sentence
