"""The abstract interpreter, in layers: each module adds one class to a chain, and knows only the classes below it.

values              what an expression may be
records             what is noted while running; module_notes and alias_notes: of modules and their attributes
machine             the journal, branches, joins
expressions         `a + b`, names, comprehensions
conditions          tests, what they decide, what holds in an arm
containers          displays, items, iteration
statements          assignments, branches, `try`, `with`
loops               rounds that stand for all
definitions         functions, classes, imports
python_builtins     `len`, `zip`, `isinstance`, `getattr`
calls, contexts     binding arguments, running functions, objects, `with`
modules             an nn.Module: construction, attributes, modes, fills
module_methods      `eval()`, `to()`, `apply()`, `parameters()`
layers, forward     one layer, one forward
training            losses, backward, optimizers
notes               torch calls, methods not called
data                datasets, loaders, samplers, process groups
value_uses          thresholds, logarithms, results that are dropped
torch_functions     everything named from outside the project
value_methods       methods of tensors, optimizers, lists, strings
layer_notes         rates, initial values, states of layers
flow_nodes, flow    what each tensor is made of, and what reads it
loop_tools          Accelerate, Fabric, Lightning by hand, einops
clocks              readings of the wall clock
sizes, layer_sizes  shapes, and what layers make of them
layer_shapes        shapes through layers, and layers that do not fit
shapes              shapes through functions, operators and indices
reach               where the gradient of a value goes; reach_values, reach_stores, reach_calls, reach_operators,
                    reach_forwards, gradients: how values get that, and what backwards and optimizers make of it
entry               how a file is entered: the class Interpreter
"""
