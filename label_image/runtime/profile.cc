#include "runtime/profile.h"

#include <algorithm>

#include "graph/wire.h"
#include "runtime/benchmark.h"
#include "runtime/session_config.h"

namespace label_image {
namespace {

// Field numbers in TensorFlow's config.proto and step_stats.proto.
enum StatsField { kStepStats = 1, kDeviceStats = 1, kNodeStats = 2 };
enum NodeStatsField { kNodeName = 1, kStartMicros = 3, kEndMicros = 4, kLabel = 8,
                      kStartNanos = 14, kEndNanos = 15 };

void AddNode(std::string_view node_stats, std::map<std::string, OperationTime>* total) {
  std::string_view name, label;
  double microseconds = 0, nanoseconds = 0;
  wire::Field field;
  for (wire::Reader reader(node_stats); reader.Next(&field);) {
    switch (field.number) {
      case kNodeName: name = field.AsBytes(); break;
      case kLabel: label = field.AsBytes(); break;
      case kStartMicros: microseconds -= static_cast<int64_t>(field.AsVarint()); break;
      case kEndMicros: microseconds += static_cast<int64_t>(field.AsVarint()); break;
      case kStartNanos: nanoseconds -= static_cast<int64_t>(field.AsVarint()); break;
      case kEndNanos: nanoseconds += static_cast<int64_t>(field.AsVarint()); break;
    }
  }
  OperationTime& operation = (*total)[std::string(name)];
  operation.node = name;
  const size_t equals = label.find(" = ");
  if (equals != label.npos) {  // the label is "node = Op(inputs)"
    const std::string_view call = label.substr(equals + 3);
    operation.op = call.substr(0, call.find('('));
  } else if (operation.op.empty()) {  // 2.x: the name is "node:Op"
    const size_t colon = name.rfind(':');
    operation.op = colon == name.npos ? "" : name.substr(colon + 1);
    operation.node = name.substr(0, colon);
  }
  operation.microseconds += nanoseconds > 0 ? nanoseconds / 1000 : microseconds;
}

}  // namespace

void AddProfile(std::string_view run_metadata, std::map<std::string, OperationTime>* total) {
  for (std::string_view stats : wire::AllBytes(run_metadata, kStepStats)) {
    for (std::string_view device : wire::AllBytes(stats, kDeviceStats)) {
      for (std::string_view node : wire::AllBytes(device, kNodeStats)) AddNode(node, total);
    }
  }
}

std::vector<OperationTime> Profile(Network* network, int64_t batch_size, int runs) {
  const Tensor input = RandomInput(*network, batch_size);
  network->Run(input);
  std::map<std::string, OperationTime> total;
  const std::string options = TraceOptions();
  std::string metadata;
  network->Run(input, options, &metadata);  // not counted: the first trace is slower
  for (int i = 0; i < runs; ++i) {
    network->Run(input, options, &metadata);
    AddProfile(metadata, &total);
  }
  std::vector<OperationTime> operations;
  for (auto& [name, operation] : total) {
    operation.microseconds /= runs;
    operations.push_back(std::move(operation));
  }
  std::stable_sort(operations.begin(), operations.end(),
                   [](const OperationTime& a, const OperationTime& b) {
                     return a.microseconds > b.microseconds;
                   });
  return operations;
}

}  // namespace label_image
