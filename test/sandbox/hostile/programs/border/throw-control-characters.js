// What a terminal obeys must not reach one through an error: colours, titles, cursor, bells.
throw new Error('\u001b]0;owned\u0007\u001b[2J\u001b[31mred\r\u009b2J\u202eback')
