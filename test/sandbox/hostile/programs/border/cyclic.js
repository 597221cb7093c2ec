const value = { toJSON: undefined }
value.self = value
emit('cyclic.json', value)
