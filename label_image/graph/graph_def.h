// Field numbers of TensorFlow's GraphDef and of the messages in it. They never change.
#pragma once

namespace label_image {

enum GraphDefField { kGraphNode = 1, kGraphLibrary = 2, kGraphVersion = 3, kGraphVersions = 4 };
enum VersionDefField { kVersionsProducer = 1 };
enum NodeDefField { kNodeName = 1, kNodeOp = 2, kNodeInput = 3, kNodeAttr = 5 };
enum MapField { kMapKey = 1, kMapValue = 2 };
enum AttrValueField {
  kAttrList = 1, kAttrString = 2, kAttrInt = 3, kAttrFloat = 4, kAttrBool = 5, kAttrType = 6,
  kAttrShape = 7, kAttrTensor = 8
};
enum ListValueField { kListShape = 7 };
enum ShapeField { kShapeDim = 2, kShapeUnknownRank = 3, kDimSize = 1 };
enum TensorField { kTensorType = 1, kTensorShape = 2, kTensorContent = 4, kTensorString = 8 };

}  // namespace label_image
