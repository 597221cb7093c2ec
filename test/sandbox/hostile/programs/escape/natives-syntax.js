// The engine's own debugging calls would read and write memory.
%DebugPrint(globalThis)
