SELECT ready || '|' || total FROM queue.stats WHERE queue = 'bench';
