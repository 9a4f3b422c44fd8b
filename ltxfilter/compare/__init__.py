"""How near interpolated frames come to true ones: `ltxfilter compare` and `ltxfilter preview`."""
