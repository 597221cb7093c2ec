const error = new Error('short')
error.stack = 'Error: short\n' + '    at x (y:1:1)\n'.repeat(1e6)
error.name = 'N'.repeat(1e6)
throw error
