"""Finding things in pictures: boxes, pictures with boxes, the detector and how it is measured."""
