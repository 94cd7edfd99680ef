"""The layers of the models: tensors -> tensors, with parameters and operations counted."""
