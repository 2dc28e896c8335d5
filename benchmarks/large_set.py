"""notMNIST at its real size: how long it takes to read in and to load, and in how much memory.

    python benchmarks/large_set.py                  about five minutes and 1.5 GB of disk

Makes two archives in the originals' structure, of 529,119 and 18,726 PNGs: the built-in letters,
each many times, dimmed so that no two are equal but one in twenty. Then it times
`python -m data.notmnist`, a lesson's way to its first step, and compares the peak of memory with
the notes' way: a pickle of float32 images, validation and test set as constants of the graph.
"""
import io
import os
import pickle
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib

import numpy as np

import runs
from data import formats, notmnist

LARGE, SMALL = 529119, 18726  # files in the originals
NOTES = r'''
import pickle, sys
sys.path.insert(0, '.')
from utils import np, tf
with open(sys.argv[1], 'rb') as file:
    save = pickle.load(file)
def reformat(dataset, labels):
    return (dataset.reshape((-1, 784)).astype(np.float32),
            (np.arange(10) == labels[:, None]).astype(np.float32))
train_x, train_y = reformat(save['train_dataset'], save['train_labels'])
valid_x, _ = reformat(save['valid_dataset'], save['valid_labels'])
test_x, _ = reformat(save['test_dataset'], save['test_labels'])
with tf.Graph().as_default():
    x, y = tf.placeholder(tf.float32, [128, 784]), tf.placeholder(tf.float32, [128, 10])
    weights = [tf.Variable(tf.truncated_normal([784, 1024])), tf.Variable(tf.zeros([1024])),
               tf.Variable(tf.truncated_normal([1024, 10])), tf.Variable(tf.zeros([10]))]
    def logits(x):
        return tf.matmul(tf.nn.relu(tf.matmul(x, weights[0]) + weights[1]), weights[2]) + weights[3]
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits(x)))
    train_op = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    train_prediction = tf.nn.softmax(logits(x))
    valid_prediction = tf.nn.softmax(logits(tf.constant(valid_x)))
    test_prediction = tf.nn.softmax(logits(tf.constant(test_x)))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for step in range(201):
            offset = step * 128 % (len(train_y) - 128)
            feed = {x: train_x[offset:offset + 128], y: train_y[offset:offset + 128]}
            session.run([train_op, loss, train_prediction], feed)
        valid_prediction.eval(), test_prediction.eval()
'''
LAUNCHER = r'''
import resource, subprocess, sys, time
start = time.time()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.time() - start, used.ru_utime + used.ru_stime, used.ru_maxrss)
'''


def png(image):
    """A grey PNG of uint8 [28, 28], as bytes."""
    rows = b''.join(b'\0' + row.tobytes() for row in image)
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', 28, 28, 8, 0, 0, 0, 0)),
              (b'IDAT', zlib.compress(rows, 6)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        for kind, body in chunks)


def make(path, count, images, labels):
    """Write an archive of count PNGs made of images uint8 [n, 28, 28]; returns them all."""
    draw = np.random.RandomState(len(labels))
    made, name = [], os.path.basename(path).split('.')[0]
    with tarfile.open(path, 'w:gz', compresslevel=1) as archive:
        for i in range(count):
            source = i % len(labels)
            if i % 20 or i < len(labels):
                image = (images[source] * draw.uniform(0.5, 1)).astype(np.uint8)
            made.append(image)
            content = png(image)
            entry = tarfile.TarInfo('%s/%s/%07d.png' % (name, 'ABCDEFGHIJ'[labels[source]], i))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return np.array(made)


def measure(*words):
    """Run python WORDS; returns wall seconds, processor seconds and the peak of memory in GB."""
    # By way of a small process: a child's peak starts with the memory of the one that started it.
    done = subprocess.run((sys.executable, '-c', LAUNCHER, sys.executable) + words, cwd=runs.ROOT,
                          stdout=subprocess.PIPE, check=True)
    wall, processor, peak = map(float, done.stdout.split())
    return wall, processor, peak * 1024 / 1e9


def main():
    runs.parser(__doc__, again=False).parse_args()
    letters = formats.read('letters')
    with tempfile.TemporaryDirectory() as folder:
        large, small, out, old = [os.path.join(folder, name) for name in (
            'notMNIST_large.tar.gz', 'notMNIST_small.tar.gz', 'notmnist.npz', 'notMNIST.pickle')]
        images = make(large, LARGE, letters['train_dataset'], letters['train_labels'])
        make(small, SMALL, letters['test_dataset'], letters['test_labels'])
        start = time.perf_counter()
        copies = len(images) - len(np.unique(notmnist.first_seen(images)))
        print('finding the %d copies among %d images: %.1f s' % (
            copies, len(images), time.perf_counter() - start), flush=True)
        del images
        print('python -m data.notmnist: %.1f s, %.1f s of processor time, %.2f GB' % measure(
            '-m', 'data.notmnist', '--large', large, '--small', small, '--out', out), flush=True)

        pairs = [(measure('-c', 'import utils')[0],
                  measure('sgd.py', '--data', out, '--steps', '1')[0]) for _ in range(5)]
        print('sgd.py --steps 1 takes %.1f s, importing TensorFlow %.1f s of it (medians of 5)' % (
            statistics.median(b for _, b in pairs), statistics.median(a for a, _ in pairs)),
            flush=True)

        arrays = formats.read(out)
        with open(old, 'wb') as file:
            pickle.dump({key: array if key.endswith('labels') else
                         (array.astype(np.float32) - 127.5) / 255
                         for key, array in arrays.items()}, file, protocol=4)
        del arrays
        ours = measure('relu_nn.py', '--data', out, '--steps', '201')[2]
        notes = measure('-c', NOTES, old)[2]
        print('peak of memory: relu_nn.py %.2f GB, the notes\' way %.2f GB: %.2f of it' % (
            ours, notes, ours / notes))


if __name__ == '__main__':
    main()
