for (let i = 0; ; i++) emit(`name-${i}`, '')
