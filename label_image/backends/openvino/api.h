// OpenVINO's C API, loaded at run time from the libopenvino_c.so of the wheel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// A subset of openvino/c/ of version 2026, which the wheel contains.
extern "C" {
struct ov_core;
struct ov_model;
struct ov_output_const_port;
struct ov_compiled_model;
struct ov_infer_request;
struct ov_tensor;
struct ov_version {
  const char *build_number, *description;
};
struct ov_dimension {
  int64_t min, max;
};
struct ov_partial_shape {
  ov_dimension rank;
  ov_dimension* dims;
};
struct ov_shape {
  int64_t rank;
  int64_t* dims;
};
}

namespace label_image {

// X(name without ov_, result, parameters); those that return int: a status, 0: success
#define LABEL_IMAGE_OPENVINO_FUNCTIONS(X)                                                     \
  X(get_openvino_version, int, (ov_version*))                                                 \
  X(get_last_err_msg, const char*, ())                                                        \
  X(get_error_info, const char*, (int status))                                                \
  X(free, void, (const char*))                                                                \
  X(core_create, int, (ov_core**))                                                            \
  X(core_read_model, int, (const ov_core*, const char* path, const char* weights, ov_model**)) \
  X(core_compile_model, int,                                                                  \
    (const ov_core*, const ov_model*, const char* device, size_t, ov_compiled_model**, ...))  \
  X(model_inputs_size, int, (const ov_model*, size_t*))                                       \
  X(model_outputs_size, int, (const ov_model*, size_t*))                                      \
  X(model_const_input_by_index, int, (const ov_model*, size_t, ov_output_const_port**))       \
  X(model_const_output_by_index, int, (const ov_model*, size_t, ov_output_const_port**))      \
  X(model_reshape_single_input, int, (const ov_model*, ov_partial_shape))                     \
  X(model_free, void, (ov_model*))                                                            \
  X(port_get_any_name, int, (const ov_output_const_port*, char**))                            \
  X(port_get_element_type, int, (const ov_output_const_port*, int*))                          \
  X(port_get_partial_shape, int, (const ov_output_const_port*, ov_partial_shape*))            \
  X(output_const_port_free, void, (ov_output_const_port*))                                    \
  X(partial_shape_create_static, int, (int64_t, const int64_t*, ov_partial_shape*))           \
  X(partial_shape_free, void, (ov_partial_shape*))                                            \
  X(compiled_model_create_infer_request, int, (const ov_compiled_model*, ov_infer_request**)) \
  X(compiled_model_free, void, (ov_compiled_model*))                                          \
  X(infer_request_get_input_tensor_by_index, int,                                             \
    (const ov_infer_request*, size_t, ov_tensor**))                                           \
  X(infer_request_get_output_tensor_by_index, int,                                            \
    (const ov_infer_request*, size_t, ov_tensor**))                                           \
  X(infer_request_infer, int, (ov_infer_request*))                                            \
  X(infer_request_free, void, (ov_infer_request*))                                            \
  X(tensor_get_element_type, int, (const ov_tensor*, int*))                                   \
  X(tensor_get_shape, int, (const ov_tensor*, ov_shape*))                                     \
  X(tensor_data, int, (const ov_tensor*, void**))                                             \
  X(tensor_free, void, (ov_tensor*))                                                          \
  X(shape_free, int, (ov_shape*))

struct OpenVino {
#define LABEL_IMAGE_DECLARE(name, result, parameters) result(*name) parameters = nullptr;
  LABEL_IMAGE_OPENVINO_FUNCTIONS(LABEL_IMAGE_DECLARE)
#undef LABEL_IMAGE_DECLARE

  std::string path, version;
  ov_core* core = nullptr;

  // Throw Error if a call failed.
  void Check(int status, const char* failure) const;
};

// Load the library; see LoadLibrary. Throws Error.
OpenVino LoadOpenVino(const std::vector<std::string>& libraries);

}  // namespace label_image
