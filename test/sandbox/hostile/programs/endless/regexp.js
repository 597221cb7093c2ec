// Exponential backtracking happens in native code, which looks for interrupts only now and then.
;/^(a+)+$/.test('a'.repeat(60) + '!')
