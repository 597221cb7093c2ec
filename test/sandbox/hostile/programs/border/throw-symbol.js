throw Symbol('a symbol does not become text by itself')
