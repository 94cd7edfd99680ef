"""alex0 to alex4: tuto with one to three changes, after AlexNet (Krizhevsky et al. 2012).

At 24x24, in millions:                             parameters   ops
  alex0  conv2 3x3, with 96 filters                   1.46     25.24
  alex1  a third conv, one hidden fc with 192 units   0.32     43.51
  alex2  no lrn                                       1.07     37.08
  alex3  one hidden fc with 384 units                 1.00     37.60
  alex4  96 filters in both convs, conv2 3x3, no lrn  1.49     35.20
"""

from functools import partial

from models.tuto import conv_fc

MODELS = {
    'alex0': partial(conv_fc, convs=[(5, 64), (3, 96)], units=[384, 192]),
    'alex1': partial(conv_fc, convs=[(5, 64), (5, 64), (5, 64)], units=[192]),
    'alex2': partial(conv_fc, convs=[(5, 64), (5, 64)], units=[384, 192], lrn=False),
    'alex3': partial(conv_fc, convs=[(5, 64), (5, 64)], units=[384]),
    'alex4': partial(conv_fc, convs=[(5, 96), (3, 96)], units=[384, 192], lrn=False),
}
