"""A white disc where a point projects, and where an image has it: images and cameras that agree."""

import cv2
import numpy as np


def drawn(pixel: np.ndarray, size: int) -> np.ndarray:
    """A black image (size, size, 3) with a disc of 3 px about (u, v) [px]."""
    image = np.zeros((size, size, 3), np.uint8)
    # a pixel's centre is half a pixel from its corner; eight bits behind the point
    centre = tuple(int(c) for c in np.round((pixel - 0.5) * 256))
    cv2.circle(image, centre, 3 * 256, (255, 255, 255), -1, cv2.LINE_AA, 8)
    return image


def found(image: np.ndarray) -> np.ndarray:
    """(u, v) of the middle of what is white [px]."""
    weight = image[..., 0].astype(float)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
