"""Every picture; among the lessons matplotlib is imported here alone. No screen is needed."""
import contextlib
import os

import matplotlib
matplotlib.use('Agg')  # draw into files, on machines without a screen too
import matplotlib.pyplot as plt
import numpy as np

from commandline import Refused


def save(figure, folder, name, way_out='give another folder with --plot'):
    """Write a figure as folder/name.png, whole or not at all, and close it; returns the path.

    Raises utils.Refused where the folder cannot be made or written.
    """
    path = os.path.join(folder, name + '.png')
    try:
        os.makedirs(folder, exist_ok=True)
        figure.savefig(path + '.part', format='png', dpi=100, bbox_inches='tight')
        os.replace(path + '.part', path)
    except OSError as error:
        raise Refused('%s cannot be written (%s): %s.' % (path, error.strerror or error, way_out))
    finally:
        plt.close(figure)
        with contextlib.suppress(OSError):  # also on Ctrl-C: nothing half-written stays
            os.remove(path + '.part')
    return path


def blank_page(width, height, inches):
    """A figure of so many inches across, and its axes, unseen, for images placed by their pixels.

    Axes of their own for many small images would take most of the time. y runs downwards.
    """
    figure = plt.figure(figsize=(inches, inches * height / width))
    page = figure.add_axes([0, 0, 1, 1])
    page.axis('off')
    page.set_xlim(0, width)
    page.set_ylim(height, 0)
    return figure, page


# ----------------------------------------------------------------------------------- curve_fit.py

BLUE, RED, GREEN, ORANGE, GREY = '#1f5fa8', '#c8352b', '#2a8a4a', '#d98a10', '#808080'


def polynomials(folder, x, y, fits):
    """The fits (terms, by gradient descent, by least squares) near the points and far from them."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2))
    for panel, ends in zip(panels, ((-1, 2), (-5, 5))):
        grid = np.linspace(ends[0], ends[1], 401)
        for color, (terms, found, exact) in zip((BLUE, RED), fits):
            panel.plot(grid, np.polyval(found[::-1], grid), color=color, linewidth=2,
                       label='%d terms, gradient descent' % terms)
            panel.plot(grid, np.polyval(exact[::-1], grid), color='black', linewidth=1.2,
                       linestyle=(0, (4, 3)) if terms == fits[0][0] else (0, (1, 2)),
                       label='%d terms, least squares' % terms)
        panel.scatter(x, y, color='black', s=32, zorder=3, clip_on=False, label='the six points')
        panel.set_xlim(*ends)
        panel.set_xlabel('x')
        panel.grid(alpha=0.3)
        panel.set_title('between the points' if ends == (-1, 2) else 'the same curves outside')
    panels[0].legend(frameon=False)
    return save(figure, folder, 'polynomials')


def learning_rates(folder, terms, curves, target):
    """Curves (rate, steps, losses, values): the loss on the left, the first steps on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for color, width, (rate, steps, losses, values) in zip(
            (ORANGE, RED, BLUE, GREEN, GREY), (4, 1.5, 1.5, 2, 2), curves):
        losses = np.minimum(np.where(np.isfinite(losses), losses, np.inf), 1e20)  # above the top
        late = values[8:16]
        verdict = ('explodes' if losses[-1] > 1e9 else
                   'oscillates' if len(late) and np.ptp(late) > 1 else
                   'works' if losses[-1] < losses[0] / 2 else 'does nothing')
        left.plot(steps, losses, color=color, linewidth=width, label='%.3g %s' % (rate, verdict))
        # An exploding curve leaves the picture at the top, once.
        values = values[:2] if verdict == 'explodes' else values[:25]
        right.plot(steps[:len(values)], values, 'o-', color=color, markersize=4, linewidth=width)
    left.set_xscale('symlog', linthresh=1)
    left.set_yscale('log')
    left.set_xlim(0, max(curves[0][1]))
    left.set_ylim(1e-4, 1e9)
    left.set_xlabel('step')
    left.set_title('sum of squares, %d terms' % terms)
    left.legend(frameon=False, loc='upper right', title='learning rate')
    right.axhline(target, color='black', linewidth=1, linestyle=(0, (4, 3)))
    right.text(25, target, 'the point', va='center')
    right.set_xlim(-0.8, 24.8)
    right.set_ylim(target - 6, target + 6)
    right.set_xlabel('step')
    right.set_title('value of the curve at the last point')
    for panel in (left, right):
        panel.grid(alpha=0.3)
    return save(figure, folder, 'learning_rates')


def batch_sizes(folder, rows):
    """Rows of (size, bytes, seconds, noise), each quantity against the batch size."""
    sizes, peaks, seconds, noises = np.array(rows).T
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4))
    for panel, title, values in zip(
            panels, ('peak of one step\'s tensors, MB', 'time per step, ms',
                     'gradient noise / gradient'), (peaks / 1e6, seconds * 1e3, noises)):
        panel.plot(sizes, values, 'o' if values is noises else 'o-', color=BLUE, linewidth=2)
        panel.set_title(title)
        panel.set_xlabel('batch size')
        panel.grid(alpha=0.3)
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
    law = np.linspace(sizes[0], sizes[-1], 200)
    panels[2].plot(law, noises[0] * np.sqrt(sizes[0] / law), color='black', linewidth=1,
                   linestyle=(0, (4, 3)), label='1 / square root of batch size')
    panels[2].legend(frameon=False)
    figure.tight_layout()
    return save(figure, folder, 'batch_sizes')


# ---------------------------------------------------------------------------------- activations.py

def activations(folder, grid, both, flat, bound):
    """Each activation of {name: (f, f')} beside its derivative, the pairs of {name: flat} grey."""
    figure, panels = plt.subplots((len(both) + 1) // 2, 4, figsize=(12, 7.6), sharex=True)
    for place, (name, pair) in enumerate(both.items()):
        row, column = place // 2, place % 2 * 2
        for panel, values, color, title in zip(
                panels[row, column:column + 2], pair, (BLUE, RED), (name, 'its derivative')):
            for low, high in flat[name]:
                panel.axvspan(low, high, color='#e4e4e4', linewidth=0)
            panel.axhline(0, color='black', linewidth=0.7)
            panel.axvline(0, color='black', linewidth=0.7)
            panel.plot(grid, values, color=color, linewidth=2.2)
            panel.set_title(title, fontsize=11, color=color)
            panel.set_xlim(grid[0], grid[-1])
            panel.grid(alpha=0.3)
        panels[row, column].set_ylim(*((-1.2, 1.2) if pair[0].max() <= 1 else (-2.5, 8)))
        panels[row, column + 1].set_ylim(-0.15, 1.9)
    figure.suptitle('Grey: flat, |derivative| < %g; next to no gradient comes through' % bound,
                    y=0.99)
    figure.tight_layout()
    return save(figure, folder, 'activations')


def unit_health(folder, rows, bound):
    """Rows (name, rate, test accuracy, dead, flat, perplexity) as bars of percent, rates apart."""
    rates = sorted({row[1] for row in rows})
    places = np.array([-i - 0.7 * rates.index(row[1]) for i, row in enumerate(rows)])
    figure, panels = plt.subplots(1, 3, figsize=(11, 0.3 * len(rows) + 1.4), sharey=True)
    for panel, column, color, title in zip(panels, (2, 3, 4), (BLUE, RED, ORANGE), (
            'test accuracy, %', 'dead units, %', 'outputs on flat ground, %%\n|derivative| < %g'
            % bound)):
        values = [row[column] for row in rows]
        panel.barh(places, values, color=color, height=0.66)
        for place, value in zip(places, values):
            panel.text(value + 1.5, place, '%.1f' % value, va='center', fontsize=9)
        panel.set_xlim(0, 119)
        panel.set_xticks(range(0, 101, 25))
        panel.set_yticks(places)
        panel.set_yticklabels(['%s, rate %g' % row[:2] for row in rows])
        panel.set_title(title, fontsize=11)
        for side in ('top', 'right'):
            panel.spines[side].set_visible(False)
    figure.tight_layout()
    return save(figure, folder, 'unit_health')


def softmax(folder, logits, probabilities):
    """Logits [k] on the left, what softmax makes of them on the right."""
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 3))
    places = np.arange(len(logits))
    for panel, values, color, title, form in zip(
            panels, (logits, probabilities), (GREY, BLUE),
            ('in: any numbers', 'out: probabilities, sum 1'), ('%g', '%.4f')):
        panel.bar(places, values, color=color, width=0.6)
        panel.axhline(0, color='black', linewidth=0.8)
        reach = np.ptp(np.append(values, 0))
        for place, value in zip(places, values):
            panel.text(place, value + (0.03 if value >= 0 else -0.03) * reach, form % value,
                       ha='center', va='bottom' if value >= 0 else 'top')
        panel.set_ylim(min(values.min(), 0) - (0.15 * reach if values.min() < 0 else 0),
                       values.max() + 0.15 * reach)
        panel.set_xticks(places)
        panel.set_xticklabels(['class %d' % (place + 1) for place in places])
        panel.set_title(title, fontsize=11)
        for side in ('top', 'right'):
            panel.spines[side].set_visible(False)
    figure.tight_layout()
    return save(figure, folder, 'softmax')


# ----------------------------------------------------------------------------- every --plot

def learning_curves(folder, history):
    """Loss, accuracies and learning rate over the steps, as Log.report() was told them."""
    steps = [row['step'] for row in history]
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6))
    losses = [name for name in history[0] if name.startswith('loss/')]
    for name, color in zip(losses, (BLUE, RED, ORANGE)):
        panels[0].plot(steps, [row[name] for row in history], 'o-', color=color, markersize=3,
                       label=name[len('loss/'):].replace('loss', 'cross entropy'))
    panels[0].set_title('minibatch loss')
    panels[0].set_yscale('log')
    for name, color in (('minibatch', GREY), ('validation', BLUE)):
        panels[1].plot(steps, [100 * row['accuracy/' + name] for row in history], 'o-', color=color,
                       markersize=3, label=name)
    panels[1].set_title('accuracy, %')
    lowest = min(row['accuracy/validation'] for row in history[1:] or history)  # after the start
    panels[1].set_ylim(max(0, 100 * lowest - 10), 101)
    panels[2].plot(steps, [row['learning_rate'] for row in history], 'o-', color=GREEN,
                   markersize=3)
    panels[2].set_title('learning rate')
    panels[2].set_ylim(bottom=0)
    for panel in panels:
        panel.set_xlabel('step')
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    panels[1].legend(frameon=False, loc='lower right')
    figure.tight_layout()
    return save(figure, folder, 'learning_curves')


def confusion_matrix(folder, counts, names):
    """How often each class (row) was taken for each (column): integer [10, 10]."""
    size = len(names)
    wrong = counts * (1 - np.eye(size, dtype=int))  # the colours: the right ones would drown them
    figure, panel = plt.subplots(figsize=(5.6, 5.2))
    panel.imshow(wrong, cmap='Reds', vmin=0, vmax=max(wrong.max(), 1) * 1.4)
    for row in range(size):
        for column in range(size):
            panel.text(column, row, counts[row, column] or '', ha='center', va='center', fontsize=9,
                       color=GREY if row == column else 'black')
    panel.set_xticks(range(size))
    panel.set_yticks(range(size))
    panel.set_xticklabels(names)
    panel.set_yticklabels(names)
    panel.set_xlabel('predicted')
    panel.set_ylabel('true')
    panel.set_title('%d of %d right' % (np.trace(counts), counts.sum()), fontsize=11)
    return save(figure, folder, 'confusion_matrix')


def wrong_examples(folder, images, truth, predictions, names, count=24):
    """The first images [n, 784] that were classified wrongly, with true and predicted class."""
    figure, page = blank_page(8 * 34 - 6, 3 * 40 - 12, 8)
    for place, index in enumerate(np.flatnonzero(truth != predictions)[:count]):
        left, top = 34 * (place % 8), 40 * (place // 8)
        page.imshow(images[index].reshape(28, 28), cmap='gray', vmin=-0.5, vmax=0.5,
                    extent=(left, left + 28, top + 28, top))
        page.text(left + 14, top - 2, '%s, not %s' % (
            names[truth[index]], names[predictions[index]]), fontsize=9, ha='center')
    return save(figure, folder, 'wrong_examples')


def first_layer(folder, weights):
    """The weights [784, units] into the first units as pictures: red positive, blue negative."""
    units = min(weights.shape[1], 40)
    figure, page = blank_page(10 * 31 - 3, (units + 9) // 10 * 31 - 3, 8)
    for place, column in enumerate(weights.T[:units]):
        reach = np.abs(column).max() or 1
        left, top = 31 * (place % 10), 31 * (place // 10)
        page.imshow(column.reshape(28, 28), cmap='RdBu_r', vmin=-reach, vmax=reach,
                    extent=(left, left + 28, top + 28, top))
    return save(figure, folder, 'first_layer')


# ------------------------------------------------------------------------------------ transfer.py

def few_labels(folder, name, ways, labels, mean, deviation):
    """Test accuracy of each way to learn, percent [labels, ways], a panel per number of labels."""
    places = np.arange(len(ways))[::-1]
    figure, panels = plt.subplots(1, len(labels), figsize=(4 + 3.4 * len(labels), 2.8),
                                  sharey=True, squeeze=False)
    for panel, count, values, spread in zip(panels[0], labels, mean, deviation):
        low, high = np.min(values - spread), np.max(values + spread)
        margin = 0.2 * (high - low) + 0.5
        panel.errorbar(values, places, xerr=spread, fmt='o', color=BLUE, capsize=3)
        panel.axvline(values[0], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for place, value in zip(places, values):
            panel.text(value, place + 0.2, '%.1f' % value, ha='center', fontsize=9,
                       bbox=dict(facecolor='white', edgecolor='none', pad=0.5))
        panel.set_xlim(low - margin, high + margin)
        panel.set_ylim(-0.5, len(ways) - 0.3)
        panel.set_yticks(places)
        panel.set_yticklabels(ways)
        panel.set_title('test accuracy, %%, %s labels' % count, fontsize=11)
        panel.grid(alpha=0.3)
    figure.tight_layout()
    return save(figure, folder, name)


# ----------------------------------------------------------------------------------- attractor.py

def attractors(folder, runs, samples=7000):
    """The true attractor and each learnt one, runs {name: [n, samples, 3]}, side by side in 3-D."""
    figure = plt.figure(figsize=(3.8 * len(runs), 3.9))
    for place, (name, color) in enumerate(zip(runs, (GREY, BLUE, RED)), 1):
        panel = figure.add_subplot(1, len(runs), place, projection='3d')
        panel.plot(*runs[name][0, :samples].T, color=color, linewidth=0.4)
        panel.set_title(name if name == 'true' else name + ', running freely', fontsize=12)
        panel.set_xlim(-3, 3)
        panel.set_ylim(-3, 3)
        panel.set_zlim(-2, 2.5)
        panel.view_init(elev=18, azim=-60)
        for label in 'xyz':
            getattr(panel, 'set_%sticks' % label)([-2, 0, 2])
            getattr(panel, 'set_%slabel' % label)(label, labelpad=-6)
            panel.tick_params(label, labelsize=8, pad=-2)
    figure.subplots_adjust(left=0.01, right=0.97, bottom=0.04, top=0.96, wspace=0.08)
    return save(figure, folder, 'attractors')


def forecasts(folder, runs, unit, shown=8):
    """The z of the first run, true and as each model has it; unit: Lyapunov times per sample."""
    models = [name for name in runs if name != 'true']
    figure, panels = plt.subplots(len(models), 1, figsize=(11, 2.7 * len(models)), sharex=True,
                                  squeeze=False)
    count = min(int(shown / unit), runs['true'].shape[1])
    times = unit * np.arange(count)
    for panel, name, color in zip(panels[:, 0], models, (BLUE, RED)):
        panel.plot(times, runs['true'][0, :count, 2], color='black', linewidth=1, label='true')
        panel.plot(times, runs[name][0, :count, 2], color=color, linewidth=1.3, label=name)
        panel.set_ylabel('z')
        panel.set_xlim(0, times[-1])
        panel.set_ylim(-2.6, 3.4)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, loc='upper right', ncol=2)
    panels[-1, 0].set_xlabel('Lyapunov times since the last true sample')
    figure.tight_layout()
    return save(figure, folder, 'forecasts')


# ----------------------------------------------------------------------------------------- cnn.py

def nine_examples(folder, images, truth, predictions, names):
    """The first nine images [n, 784] with true and predicted class; in red where they differ."""
    figure, panels = plt.subplots(3, 3, figsize=(4.8, 5.4))
    for panel, image, true, predicted in zip(panels.flat, images, truth, predictions):
        panel.imshow(image.reshape(28, 28), cmap='gray', vmin=-0.5, vmax=0.5)
        panel.set_xlabel('true %s, predicted %s' % (names[true], names[predicted]), fontsize=9,
                         color='black' if true == predicted else RED)
        panel.set_xticks([])
        panel.set_yticks([])
    figure.tight_layout()
    return save(figure, folder, 'nine_examples')


def kernels(folder, name, start, end):
    """Weights [height, width, depth, features] on the first input, before training and after it."""
    side = int(np.ceil(np.sqrt(start.shape[-1])))
    reach = max(np.abs(start[:, :, 0]).max(), np.abs(end[:, :, 0]).max())  # one scale, to compare
    size = (1.05 * side + 1.6, 0.53 * side + 0.9)
    figure, panels = plt.subplots(side, 2 * side + 1, figsize=size)
    for panel in panels.flat:
        panel.axis('off')
    for first, values in ((0, start), (side + 1, end)):
        for place in range(values.shape[-1]):
            panels[place // side, first + place % side].imshow(
                values[:, :, 0, place], cmap='seismic', vmin=-reach, vmax=reach)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.78, wspace=0.12, hspace=0.12)
    for left, moment, values in ((0.25, 'at random', start), (0.75, 'trained', end)):
        figure.text(left, 0.83, '%s, %s\nmean %.4f, stddev %.4f' % (
            name, moment, values.mean(), values.std()), ha='center', va='bottom', fontsize=9)
    figure.text(0.5, -0.01, 'correlation %.3f' % np.corrcoef(start.ravel(), end.ravel())[0, 1],
                ha='center', va='top', fontsize=9)
    return save(figure, folder, name)


# ---------------------------------------------------------------------------- benchmarks/steps.py

def steps(folder, rows, names):
    """Time per step of rows (network, variant, microseconds, ...), one panel for each network."""
    networks = list(dict.fromkeys(row[0] for row in rows))
    figure, panels = plt.subplots(1, len(networks), figsize=(3.4 * len(networks) + 2.6, 2.9),
                                  sharey=True, squeeze=False)
    for panel, network in zip(panels[0], networks):
        own = [(names[row[1]], float(row[2]) / 1000) for row in rows if row[0] == network]
        for place, (name, time) in enumerate(own):
            panel.barh(name, time, color=BLUE if place == 0 else GREY, height=0.7)
            panel.annotate(' %.3g' % time, (time, place), va='center', fontsize=9)
        panel.set_title(network, fontsize=11)
        panel.set_xlabel('ms a step')
        panel.set_xlim(0, 1.2 * max(time for _, time in own))
        for side in ('top', 'right'):
            panel.spines[side].set_visible(False)
    panels[0][0].invert_yaxis()
    figure.subplots_adjust(wspace=0.08)
    return save(figure, folder, 'steps')


# ----------------------------------------------------------------------------------- data/show.py

SHEET = (24, 6, 6)  # columns of images for training, validation and test
SHEET_ROWS = 3      # of images for each class
CELL = 30           # pixels: an image and the gap around it


def contact_sheet(folder, name, title, splits, classes, seed):
    """Images of each class of each split, drawn at random, and how many there are of each.

    splits: {name: (images uint8 [n, 28, 28], labels int [n])} for training, validation and test;
    classes: the ten names. A pixel of an image is a pixel of the sheet.
    """
    random = np.random.RandomState(seed)
    band, left, top, gap = SHEET_ROWS * CELL + 26, 62, 104, 26  # pixels, as are the places below
    width, height = left + sum(SHEET) * CELL + 2 * gap, top + band * len(classes) - 26
    figure, page = blank_page(width, height, width / 100)
    page.text(0, 16, title, fontsize=17, weight='bold', va='center')
    page.text(width, 16, 'chosen by seed %d' % seed, color=GREY, va='center', ha='right')
    for label, class_name in enumerate(classes):
        page.text(18, top + band * label + SHEET_ROWS * CELL / 2, class_name, fontsize=28,
                  weight='bold', color=BLUE, va='center', ha='center')
    for (split, (images, labels)), columns in zip(splits.items(), SHEET):
        right = left + columns * CELL
        page.text(left, 62, split, fontsize=13, va='center')
        page.text(right, 62, '{:,}'.format(len(labels)), fontsize=13, va='center', ha='right')
        for label in range(len(classes)):
            y = top + band * label
            mine = random.permutation(np.flatnonzero(labels == label))
            page.text(right, y - 5, '{:,}'.format(len(mine)), fontsize=8, color=GREY, ha='right')
            some = images[mine[:SHEET_ROWS * columns]]
            tiles = np.full([SHEET_ROWS * columns, CELL, CELL], 150, np.uint8)  # grey: the gaps
            tiles[:len(some), 1:-1, 1:-1] = some
            tiles[len(some):] = 255
            block = tiles.reshape([SHEET_ROWS, columns, CELL, CELL]).transpose([0, 2, 1, 3])
            block = block.reshape([SHEET_ROWS * CELL, columns * CELL, 1]).repeat(3, 2)  # RGB
            page.imshow(block, interpolation='nearest',
                        extent=(left, right, y + SHEET_ROWS * CELL, y))
        left = right + gap
    return save(figure, folder, name, 'give another FILE')
