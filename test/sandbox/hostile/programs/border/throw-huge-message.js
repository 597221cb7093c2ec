// A report of an error is small whatever the error is.
throw new Error('x'.repeat(1e8))
