import sys; sys.path.insert(0,'benchmarks')
import numpy as np, torch, time
torch.set_num_threads(1)
from pathlib import Path
from combiner_cli.media import files as media
from combiner_cli.bench import measures
from combiner_cli.bench.codecs import sounds
import perceptual
from combiner_cli.signals.signal import Signal
import argparse
def clip(name,dir='/work/shared/data/music',sec=6):
    s=media.read_signal(next(Path(dir).rglob(name+'.*')))
    return Signal('sound',s.samples[:round(sec*s.sample_rate)].copy(),s.sample_rate,s.bit_depth)
def bands(s):
    x=s.samples.mean(1); n=2048; w=np.hanning(n)
    f=np.lib.stride_tricks.sliding_window_view(x,n)[::n//2]*w
    P=np.abs(np.fft.rfft(f))**2
    edges=[0,100,200,400,800,1600,3200,6400,12000,16000,20000]
    k=np.array(edges)*n//s.sample_rate
    return 10*np.log10(np.array([P[:,a:b].mean() for a,b in zip(k,k[1:])])+1e-12), P,k
if __name__=='__main__':
  for name in sys.argv[1:]:
    s=clip(name); o,P,k=bands(s)
    print(name,s.shape,s.channels,'orig',o.round(1))
    for rate in (24,48):
        t=time.process_time()
        size,_,d=perceptual.OwnWay('combiner',f'{rate}',float(rate),'perceptual',None).code(s)
        t1=time.process_time()
        v=measures.VISQOL.of(s,d)
        b,Q,_=bands(d)
        # median over frames of per-frame band energy diff
        diff=[np.median(10*np.log10((Q[:,a:c].mean(1)+1e-9)/(P[:,a:c].mean(1)+1e-9))) for a,c in zip(k,k[1:])]
        sd=[np.std(10*np.log10((Q[:,a:c].mean(1)+1e-9)/(P[:,a:c].mean(1)+1e-9))) for a,c in zip(k,k[1:])]
        print('own',rate,f'{8e-3*size/6:.1f} v={v:.2f} enc {t1-t:.1f}s vis {time.process_time()-t1:.1f}s', (b-o).round(1)); print('   med',np.round(diff,1),'sd',np.round(sd,1))
    for w in perceptual.sound_peers():
        if w.codec=='Opus' :
            size,_,d=w.code(s)
            r=8e-3*size/6
            if not 14<r<25: continue
            b,Q,_=bands(d)
            diff=[np.median(10*np.log10((Q[:,a:c].mean(1)+1e-9)/(P[:,a:c].mean(1)+1e-9))) for a,c in zip(k,k[1:])]
            sd=[np.std(10*np.log10((Q[:,a:c].mean(1)+1e-9)/(P[:,a:c].mean(1)+1e-9))) for a,c in zip(k,k[1:])]
            print('opus',f'{r:.1f} v={measures.VISQOL.of(s,d):.2f}',(b-o).round(1)); print('   med',np.round(diff,1),'sd',np.round(sd,1))
            break
