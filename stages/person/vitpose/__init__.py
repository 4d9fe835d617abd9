"""People by the pair of networks that the Wan2.2 official preprocessing uses: YOLOv10-M finds, ViTPose-H measures."""
