let error = new Error('0')
for (let i = 1; i < 100_000; i++) error = new Error(String(i), { cause: error })
error.errors = [error, error]
throw error
